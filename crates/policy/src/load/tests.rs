//! Loading: what is accepted, and that each mistake is found where it was made.

use super::*;
use countersign_core::{ReasonCode, Verdict};

fn load(files: &[(&str, &str)]) -> Result<PolicySet, Vec<PolicyError>> {
    PolicySet::load("mine", files.iter().map(|(n, t)| PolicyFile::new(*n, *t)).collect())
}

const EXTENDS: (&str, &str) = ("policy.toml", "extends = \"baseline\"\n");

#[test]
fn shipped_sets_load_without_warnings() {
    for name in SHIPPED_SETS {
        let set = PolicySet::shipped(name).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert!(set.warnings().is_empty(), "{:?}", set.warnings());
        for rule in set.rules() {
            assert!(!rule.message.is_empty() && rule.shipped, "{}", rule.id);
            assert!(rule.text.starts_with("@id("), "{}", rule.text);
        }
    }
    let e = PolicySet::shipped("baselin").unwrap_err();
    assert!(e[0].to_string().contains("did you mean `baseline`?"), "{}", e[0]);
}

#[test]
fn shipped_files_are_all_embedded() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies");
    for set in SHIPPED_SETS {
        let mut on_disk: Vec<String> = std::fs::read_dir(root.join(set))
            .unwrap()
            .map(|f| format!("{set}/{}", f.unwrap().file_name().to_str().unwrap()))
            .collect();
        on_disk.sort();
        let mut embedded: Vec<String> =
            shipped_files(set).unwrap().into_iter().map(|f| f.name).collect();
        embedded.sort();
        assert_eq!(on_disk, embedded);
    }
}

#[test]
fn final_reasons_of_shipped_rules_cannot_be_waived() {
    for rule in PolicySet::shipped("strict").unwrap().rules() {
        if rule.effect == Effect::Forbid {
            let fixed = rule.reason.is_final() || rule.reason == ReasonCode::KnownMalicious;
            assert_eq!(rule.waivable, !fixed, "{}", rule.id);
        }
    }
}

#[test]
fn a_folder_extends_a_shipped_set() {
    let rule = "// ours\n@id(\"no-left-pad\")\nforbid (principal, action == Action::\"install\", resource)\n\
                when { resource.name == \"left-pad\" };\n";
    let settings =
        ("policy.toml", "extends = \"strict\"\nmode = \"audit\"\ncool_down_hours = 24\n");
    let set = load(&[("mine.cedar", rule), settings, ("README.md", "words"), ("tests/a.toml", "")]);
    let set = set.unwrap();
    assert_eq!(set.settings().cool_down_hours, 24);
    assert_eq!(set.settings().mode, crate::Mode::Audit);
    assert_eq!(set.settings().tolerate_severity, Some(countersign_core::Severity::Low));
    let mine = set.rule("no-left-pad").unwrap();
    assert_eq!((mine.file.as_str(), mine.line), ("mine.cedar", 2));
    assert_eq!((mine.verdict, mine.reason), (Verdict::Refuse, ReasonCode::Policy));
    assert_eq!((mine.actions.clone(), mine.waivable), (vec!["install"], false));
    assert!(mine.text.ends_with("\"left-pad\" };"), "{}", mine.text);
    for id in ["baseline.cool-down", "strict.yanked"] {
        assert!(set.rule(id).unwrap().waivable, "{id}");
    }
    assert_eq!(set.rules().last(), Some(mine));
}

#[test]
fn the_digest_depends_on_files_settings_and_what_is_extended() {
    let digest = |files: &[(&str, &str)]| load(files).unwrap().digest();
    let rule = ("a.cedar", "permit (principal, action, resource);");
    let base = digest(&[rule]);
    assert_eq!(base, digest(&[rule, ("README.md", "x"), ("tests/x.toml", "y")]));
    for other in [
        vec![("b.cedar", rule.1)],
        vec![("a.cedar", "permit (principal, action, resource); // x")],
        vec![rule, ("policy.toml", "cool_down_hours = 5")],
        vec![rule, EXTENDS],
    ] {
        assert_ne!(base, digest(&other), "{other:?}");
    }
    let files =
        [("a.cedar", rule.1), ("b.cedar", "@id(\"x\") permit (principal, action, resource);")];
    assert_eq!(digest(&files), digest(&[files[1], files[0]]), "order of files");
}

#[test]
fn mistakes_are_found_where_they_were_made() {
    let ok = "forbid (principal, action == Action::\"install\", resource)";
    let rule = |annotations: &str, body: &str| format!("// a rule\n{annotations}\n{ok}\n{body};\n");
    for (text, line, column, part) in [
        (rule("@id(\"x\") @verdikt(\"hold\")", ""), 2, 10, "did you mean `verdict`?"),
        (rule("@id(\"x\") @colour(\"red\")", ""), 2, 10, "use one of: id, verdict"),
        (rule("@id(\"x\") @verdict(\"hodl\")", ""), 2, 20, "did you mean `hold`?"),
        (rule("@id(\"x\") @verdict(\"admit\")", ""), 2, 20, "unknown verdict `admit`"),
        (rule("@id(\"x\")\n  @reason(\"cooldown\")", ""), 3, 12, "did you mean `cool-down`?"),
        (rule("", ""), 3, 1, "without `@id`"),
        (rule("@id(\"Big One\")", ""), 2, 6, "cannot be the id"),
        (rule("@id(\"\")", ""), 2, 6, "cannot be the id"),
        (rule("@id(\"gate.mine\")", ""), 2, 6, "gate's own"),
        (rule("@id(\"no-permit\")", ""), 2, 6, "gate's own"),
        (rule("@id(\"cool-down\")", ""), 2, 6, "name of a reason"),
        (rule("@id(\"x\") @hours(\"1\")", ""), 2, 10, "on a rule with `@reason(\"cool-down\")`"),
        (rule("@id(\"x\") @reason(\"cool-down\") @hours(\"soon\")", ""), 2, 31, "whole hours"),
        (rule("@id(\"x\")", "when { resource.yankd }"), 4, 8, "yankd"),
        (rule("@id(\"x\")", "when { resource.size > \"1\" }"), 4, 24, "expected"),
        (rule("@id(\"x\")", "when { context.cooldown > 1 }"), 4, 8, "cooldown"),
        (rule("@id(\"x\")", "when { resource.title == \"a\" }"), 4, 8, "title"),
        (rule("@id(\"x\")", "when { resource.yanked && !resource.yanked && false }"), 2, 1, "false"),
        (rule("@id(\"x\")", "when { resource.yanked "), 4, 24, "unexpected token"),
        (rule("@id(\"x\")", "whn { resource.yanked }"), 4, 1, "when"),
        (
            rule("@id(\"x\")", "unless { context.waived.contains(\"y\") }"),
            2,
            1,
            "context.waived.contains(\"x\")",
        ),
        ("permit (principal, action == Action::\"instal\", resource);".into(), 1, 1, "instal"),
        ("permit (principal, action, resource == ?resource);".into(), 1, 1, "slots"),
        ("@verdict(\"hold\")\npermit (principal, action, resource);".into(), 1, 1, "no verdict"),
        (
            "@id(\"x\") @reason(\"denied\")\nforbid (principal, action == Action::\"tolerate\", resource);".into(),
            1,
            10,
            "findings alone",
        ),
    ] {
        let errors = load(&[EXTENDS, ("mine.cedar", &text)]).expect_err(&text);
        let e = &errors[0];
        assert!(e.to_string().contains(part), "{text}\n{e}");
        assert_eq!((e.file.as_str(), e.line, e.column), ("mine.cedar", line, column), "{text}\n{e}");
        let shown = text.lines().nth(line - 1).unwrap();
        assert!(e.to_string().contains(&format!("{line} | {shown}")), "{e}");
    }
}

#[test]
fn two_rules_with_one_id_are_an_error_that_names_both() {
    let rule =
        "@id(\"baseline.denied\")\nforbid (principal, action == Action::\"install\", resource);\n";
    let errors = load(&[EXTENDS, ("mine.cedar", rule)]).unwrap_err();
    assert_eq!((errors.len(), errors[0].line), (1, 1));
    assert!(errors[0].to_string().contains("baseline/release.cedar:"), "{}", errors[0]);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let bad = "@id(\"x\") @verdict(\"no\")\nforbid (principal, action, resource);\n";
    let errors =
        load(&[EXTENDS, ("a.cedar", bad), ("b.cedar", "forbid"), ("c.cedar", bad)]).unwrap_err();
    let files: Vec<&str> = errors.iter().map(|e| e.file.as_str()).collect();
    assert_eq!(files, ["a.cedar", "b.cedar", "c.cedar", "c.cedar"], "{errors:?}");
}

#[test]
fn files_of_no_use_are_errors() {
    let rule = ("a.cedar", "permit (principal, action, resource);");
    for (files, part) in [
        (vec![rule, ("rules.ceder", "")], "neither a policy"),
        (vec![rule, ("sub/policy.toml", "")], "in the folder itself"),
        (vec![rule, rule], "given twice"),
        (vec![], "holds no policies"),
        (vec![("policy.toml", "")], "holds no policies"),
        (vec![rule, ("policy.toml", "extnds = \"baseline\"")], "extnds"),
    ] {
        let errors = load(&files).expect_err(part);
        assert!(errors[0].to_string().contains(part), "{}", errors[0]);
    }
    let large = format!("//{}", "x".repeat(MAX_FILE));
    assert!(load(&[rule, ("b.cedar", &large)]).unwrap_err()[0].to_string().contains("larger"));
}

#[test]
fn look_alike_letters_are_a_warning() {
    let rule = "@id(\"x\")\nforbid (principal, action == Action::\"install\", resource)\n\
                when { resource.name == \"p\u{0430}ypal\" };";
    let set = load(&[EXTENDS, ("a.cedar", rule)]).unwrap();
    assert_eq!(set.warnings().len(), 1);
    assert_eq!(
        (set.warnings()[0].line, set.warnings()[0].column),
        (3, 25),
        "{}",
        set.warnings()[0]
    );
}
