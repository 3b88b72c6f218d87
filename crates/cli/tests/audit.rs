//! `countersign audit` on the real binary: every format, every ending, every form of report.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests say why they were skipped, and fail by panicking"
)]
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses a part of the shared support"
)]

mod support;

use serde_json::{Value, json};
use support::{Run, Sandbox};

const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const SHA512: &str = "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==";

/// A record with fixed dates: `fixed` is the first good version, none for a malicious package.
fn record(id: &str, ecosystem: &str, name: &str, fixed: Option<&str>, severity: &str) -> Value {
    let kind = if matches!(ecosystem, "npm" | "crates.io") { "SEMVER" } else { "ECOSYSTEM" };
    let mut events = vec![json!({"introduced": "0"})];
    events.extend(fixed.map(|f| json!({"fixed": f})));
    json!({
        "id": id, "schema_version": "1.6.0", "modified": "2026-03-01T00:00:00Z", "published": "2026-02-01T00:00:00Z",
        "summary": format!("{name} is not what it should be"),
        "affected": [{"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": kind, "events": events}]}],
        "database_specific": {"severity": severity},
    })
}

/// A sandbox with a feed that knows `vuln` (to 1.0.1), `evil` (malicious) and `minor` (tolerated) in
/// each ecosystem.
fn sandbox() -> Sandbox {
    let mut s = Sandbox::new();
    for (short, ecosystem) in [("P", "PyPI"), ("N", "npm"), ("C", "crates.io"), ("D", "Debian:12")]
    {
        s.advisory(&record(
            &format!("CVE-2026-{short}1"),
            ecosystem,
            "vuln",
            Some("1.0.1"),
            "HIGH",
        ));
        s.advisory(&record(&format!("MAL-2026-{short}2"), ecosystem, "evil", None, ""));
        s.advisory(&record(
            &format!("CVE-2026-{short}3"),
            ecosystem,
            "minor",
            Some("9.0.0"),
            "LOW",
        ));
    }
    s
}

/// Runs an audit with the sandbox's feed; `report` is what it printed, where that is JSON.
fn audit(s: &Sandbox, args: &[&str]) -> Run {
    let all: Vec<&str> = std::iter::once("audit")
        .chain(args.iter().copied())
        .chain(s.options.iter().map(String::as_str))
        .collect();
    let mut run = s.countersign(&all);
    run.report = serde_json::from_str(&run.stdout).unwrap_or(Value::Null);
    run
}

/// Each version of the JSON report: place, version, verdict, reason.
fn versions(run: &Run) -> Vec<(String, String, String, String)> {
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let of = |d: &Value| {
        let path = text(&d["path"]);
        let all = d["versions"].as_array().cloned().unwrap_or_default();
        let one = move |v: &Value| {
            (path.clone(), text(&v["version"]), text(&v["verdict"]), text(&v["reason"]))
        };
        all.iter().map(one).collect::<Vec<_>>()
    };
    run.report["documents"].as_array().unwrap().iter().flat_map(of).collect()
}

/// The documents of each format: `vuln`, `evil` and `good`, all 1.0.0, each with its line.
fn documents() -> Vec<(&'static str, String, [Option<u64>; 3])> {
    let lines = |a: u64, b: u64, c: u64| [Some(a), Some(b), Some(c)];
    let toml = |head: &str, of: &dyn Fn(&str) -> String, tail: &str| {
        let all: String = ["vuln", "evil", "good"].iter().map(|n| of(n)).collect();
        format!("{head}{all}{tail}")
    };
    let three = |of: &dyn Fn(&str) -> String, between: &str| {
        ["vuln", "evil", "good"].iter().map(|n| of(n)).collect::<Vec<_>>().join(between)
    };
    vec![
        (
            "requirements.txt",
            three(&|n| format!("{n}==1.0.0 --hash=sha256:{HEX}\n"), ""),
            lines(1, 2, 3),
        ),
        (
            "uv.lock",
            toml(
                "version = 1\n",
                &|n| {
                    format!(
                        "[[package]]\nname = \"{n}\"\nversion = \"1.0.0\"\nsource = {{ registry = \"https://registry.example/simple\" }}\nsdist = {{ url = \"https://files.example/{n}-1.0.0.tar.gz\", hash = \"sha256:{HEX}\" }}\n"
                    )
                },
                "",
            ),
            lines(2, 7, 12),
        ),
        (
            "poetry.lock",
            toml(
                "",
                &|n| {
                    format!(
                        "[[package]]\nname = \"{n}\"\nversion = \"1.0.0\"\nfiles = [{{file = \"{n}-1.0.0.tar.gz\", hash = \"sha256:{HEX}\"}}]\n"
                    )
                },
                "[metadata]\nlock-version = \"2.0\"\n",
            ),
            lines(1, 5, 9),
        ),
        (
            "pylock.toml",
            toml(
                "lock-version = \"1.0\"\n",
                &|n| format!("[[packages]]\nname = \"{n}\"\nversion = \"1.0.0\"\n"),
                "",
            ),
            lines(2, 5, 8),
        ),
        (
            "package-lock.json",
            format!(
                "{{\"lockfileVersion\": 3, \"packages\": {{\n\"\": {{}},\n{}}}}}",
                three(
                    &|n| format!(
                        "\"node_modules/{n}\": {{\"version\": \"1.0.0\", \"resolved\": \"https://registry.example/{n}/-/{n}-1.0.0.tgz\", \"integrity\": \"{SHA512}\"}}"
                    ),
                    ",\n"
                )
            ),
            lines(3, 4, 5),
        ),
        (
            "pnpm-lock.yaml",
            toml(
                "lockfileVersion: '9.0'\n\npackages:\n",
                &|n| format!("\n  {n}@1.0.0:\n    resolution: {{integrity: {SHA512}}}\n"),
                "",
            ),
            lines(5, 8, 11),
        ),
        (
            "yarn.lock",
            toml("# yarn lockfile v1\n", &|n| format!("\n{n}@^1:\n  version \"1.0.0\"\n"), ""),
            lines(3, 6, 9),
        ),
        (
            "berry/yarn.lock",
            toml(
                "__metadata:\n  version: 8\n",
                &|n| {
                    format!(
                        "\n\"{n}@npm:^1\":\n  version: 1.0.0\n  resolution: \"{n}@npm:1.0.0\"\n"
                    )
                },
                "",
            ),
            lines(4, 8, 12),
        ),
        (
            "bun.lock",
            toml(
                "{\"lockfileVersion\": 1, \"packages\": {\n",
                &|n| format!("\"{n}\": [\"{n}@1.0.0\", \"\", {{}}, \"{SHA512}\"],\n"),
                "},}",
            ),
            lines(2, 3, 4),
        ),
        (
            "Cargo.lock",
            toml(
                "version = 4\n",
                &|n| {
                    format!(
                        "[[package]]\nname = \"{n}\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\nchecksum = \"{HEX}\"\n"
                    )
                },
                "",
            ),
            lines(2, 7, 12),
        ),
        (
            "bom.json",
            format!(
                "{{\"bomFormat\": \"CycloneDX\", \"specVersion\": \"1.5\", \"components\": [\n{}]}}",
                three(
                    &|n| format!(
                        "{{\"type\": \"library\", \"name\": \"{n}\", \"purl\": \"pkg:cargo/{n}@1.0.0\"}}"
                    ),
                    ",\n"
                )
            ),
            lines(2, 3, 4),
        ),
        (
            "x.spdx.json",
            format!(
                "{{\"spdxVersion\": \"SPDX-2.3\", \"packages\": [\n{}]}}",
                three(
                    &|n| format!(
                        "{{\"SPDXID\": \"{n}\", \"name\": \"{n}\", \"externalRefs\": [{{\"referenceType\": \"purl\", \"referenceLocator\": \"pkg:pypi/{n}@1.0.0\"}}]}}"
                    ),
                    ",\n"
                )
            ),
            lines(2, 3, 4),
        ),
        (
            "root/var/lib/dpkg/status",
            three(
                &|n| {
                    format!(
                        "Package: lib{n}\nStatus: install ok installed\nSource: {n} (1.0.0)\nVersion: 1.0.0+b1\nArchitecture: amd64\n"
                    )
                },
                "\n",
            ),
            lines(1, 7, 13),
        ),
    ]
}

#[test]
fn every_format_is_judged() {
    for (name, text, lines) in documents() {
        let s = sandbox();
        let path = s.write(name, text);
        if name.starts_with("root/") {
            s.write("root/etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n");
        }
        let run = audit(&s, &[&path.display().to_string(), "--format", "json"]);
        run.expect(90);
        let all = versions(&run);
        let got: Vec<(&str, &str)> =
            all.iter().map(|(_, _, v, r)| (v.as_str(), r.as_str())).collect();
        let want = [("refuse", "known-vulnerable"), ("refuse", "known-malicious"), ("admit", "")];
        assert_eq!(got, want, "{name}\n{}", run.transcript());
        let versions = run.report["documents"][0]["versions"].as_array().unwrap();
        let found: Vec<Option<u64>> = versions.iter().map(|v| v["line"].as_u64()).collect();
        assert_eq!(found, lines, "{name}\n{}", run.transcript());
        assert_eq!(versions[0]["findings"][0]["fixed_in"], "1.0.1", "{name}");
        // The table names what is bad, why, and what to do, and not what is good.
        let table = audit(&s, &[&path.display().to_string()]);
        table.expect(90);
        for want in [
            "CVE-2026-",
            "MAL-2026-",
            "update to 1.0.1",
            "remove it",
            "baseline.known-malicious",
            "2 refused",
        ] {
            table.says(want);
        }
        assert!(!table.stdout.contains("good"), "{}", table.transcript());
        // Nothing was made or recorded.
        assert!(!s.state().join("store.sqlite").exists() && !s.state().join("keys").exists());
    }
}

#[test]
fn the_table_is_for_people() {
    let s = sandbox();
    let lock = |names: &[(&str, &str)]| {
        let all: Vec<String> = names
            .iter()
            .map(|(n, v)| {
                format!("\"node_modules/{n}\": {{\"version\": \"{v}\", \"dev\": {}}}", *n == "evil")
            })
            .collect();
        format!("{{\"lockfileVersion\": 3, \"packages\": {{\n{}}}}}", all.join(",\n"))
    };
    s.write(
        "web/package-lock.json",
        lock(&[("good", "1.0.0"), ("vuln", "1.0.0"), ("evil", "2.0.0"), ("minor", "1.0.0")]),
    );
    s.write("requirements.txt", "vuln==1.0.1\nopen>=2\ngit+https://git.example/x\n-r more.txt\n");
    s.write("more.txt", "good==1.0.0\n");
    let run = audit(&s, &[]);
    run.expect(90);
    let want = "\
more.txt (requirements.txt): 1 version

requirements.txt: 1 version
  open    open>=2, line 2: it names no exact version; pin it with `==`
  other   1 entry from no registry: git+https://git.example/x

web/package-lock.json: 4 versions, 2 refused
  refuse  vuln 1.0.0, line 3, update to 1.0.1                 baseline.known-vulnerable
          high  CVE-2026-N1  fixed in 1.0.1     vuln is not what it should be
  refuse  evil 2.0.0, line 4, for development                 baseline.known-malicious
          malicious  MAL-2026-N2  remove it          evil is not what it should be
  noted   minor 1.0.0, line 5, update to 9.0.0
          low  CVE-2026-N3  fixed in 9.0.0     minor is not what it should be

To accept a risk: countersign waive 'pkg:npm/vuln@1.0.0' --rule baseline.known-vulnerable --reason
  '…' --days 14

countersign: 6 versions in 3 places: 2 refused, 0 held; policy baseline; 12 advisories, newest of
  2026-03-01
NOT CHECKED: requirements.txt: 1 entry without an exact version
Ages, signatures and contents are no part of an audit: `countersign run` checks them.
";
    assert_eq!(run.stdout, want, "{}", run.transcript());
    // Development alone is left out where the document tells.
    let run = audit(&s, &["--production", "web"]);
    run.expect(90).says("3 versions").says("1 for development left out");
    assert!(!run.stdout.contains("evil"), "{}", run.transcript());
    // And the same again is the same to the letter.
    for format in ["table", "json", "sarif", "junit", "cyclonedx"] {
        let once = audit(&s, &["--format", format]);
        assert_eq!(once.stdout, audit(&s, &["--format", format]).stdout, "{format}");
    }
}

#[test]
fn a_clear_audit_is_green_and_nothing_else_is() {
    let s = sandbox();
    let lock = s.write("Cargo.lock", "version = 4\n[[package]]\nname = \"good\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\n");
    audit(&s, &[]).expect(0).says("0 refused, 0 held");
    let shown = lock.display().to_string();
    // Without a feed, or with one that knows another ecosystem alone, nothing was checked.
    s.countersign(&["audit", &shown]).expect(95).says("no feed is configured");
    let other = s.at("other.json");
    std::fs::write(&other, record("CVE-2026-9", "npm", "x", None, "HIGH").to_string()).unwrap();
    let other = other.display().to_string();
    s.countersign(&["audit", &shown, "--feed", &other])
        .expect(95)
        .says("NOT CHECKED: advisories of 1 version");
    // A feed that is torn.
    let torn = s.at("torn.zip");
    std::fs::write(&torn, "PK\u{3}\u{4}torn").unwrap();
    let torn = torn.display().to_string();
    s.countersign(&["audit", &shown, "--feed", &torn])
        .expect(95)
        .says("NOT CHECKED: advisories: feed");
    // A command line that names what is not there.
    s.countersign(&["audit", &shown, "--feed", "nowhere"]).expect(2).says("is not there");
    audit(&s, &["nowhere.lock"]).expect(2).says("cannot be read");
    std::fs::create_dir(s.work().join("empty")).unwrap();
    audit(&s, &["empty"]).expect(2).says("nothing to audit");
    // What cannot be understood, each in a folder of its own.
    for (name, text) in [
        ("Cargo.lock", "version = 99\n"),
        ("package-lock.json", "{"),
        ("pnpm-lock.yaml", "a: &x 1\nb: *x\n"),
        ("requirements.txt", "flask\n"),
        ("requirements.txt", "==\n"),
        ("requirements.txt", "-r ../../secret.txt\n"),
        ("bun.lockb", "\0"),
        ("Pipfile.lock", "{}"),
    ] {
        std::fs::write(s.at("secret.txt"), "good==1.0.0\n").unwrap();
        let path = s.write(&format!("bad/{name}"), text);
        audit(&s, &["bad"]).expect(95).says("NOT CHECKED");
        std::fs::remove_file(path).unwrap();
    }
    // A link that leads out of the folder is named, not followed.
    std::os::unix::fs::symlink(s.at("secret.txt"), s.work().join("bad/requirements.txt")).unwrap();
    audit(&s, &["bad"]).expect(95).says("leads out of the folder");
    std::fs::remove_file(s.work().join("bad/requirements.txt")).unwrap();
    let odd = s.write("bad/notes.json", "{}");
    audit(&s, &[&odd.display().to_string()]).expect(95).says("no lock file");
    // A refusal is worse than what was not checked.
    s.write("bad/requirements.txt", "flask\nevil==1\n");
    audit(&s, &["bad"]).expect(90);
}

#[test]
fn policy_lists_and_waivers_are_those_of_the_gate() {
    let mut s = sandbox();
    s.write("Cargo.lock", "version = 4\n[[package]]\nname = \"good\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\n[[package]]\nname = \"vuln\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\n");
    // The audit policy shows and refuses nothing.
    let run = audit(&s, &["--policy", "audit"]);
    run.expect(0).says("would").says("1 that another policy would not admit");
    // `strict` wants ages, which nobody can know here: said, and no reason to hold everything.
    let run = audit(&s, &["--policy", "strict"]);
    run.expect(90).says("age not checked");
    assert_eq!(audit(&s, &["--policy", "strict", "--format", "json"]).report["counts"]["held"], 0);
    // A policy of one's own that holds.
    let folder = s.at("policy");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("policy.toml"), "extends = \"audit\"\nmode = \"enforce\"\n")
        .unwrap();
    let rule = "@id(\"own.good\")\n@verdict(\"hold\")\n@reason(\"policy\")\n@message(\"good is too good\")\nforbid (principal, action == Action::\"resolve\", resource) when { resource.name == \"good\" };\n";
    std::fs::write(folder.join("own.cedar"), rule).unwrap();
    let folder = folder.display().to_string();
    audit(&s, &["--policy", &folder]).expect(90).says("own.good").says("good is too good");
    // A waiver lifts what it names, and only that is left that is held.
    let waive = [
        "waive",
        "pkg:cargo/vuln@1.0.0",
        "--rule",
        "baseline.known-vulnerable",
        "--reason",
        "test",
        "--days",
        "3",
    ];
    s.countersign(&waive).expect(0);
    let before = s.ledger().len();
    audit(&s, &["--policy", &folder]).expect(91).says("1 held");
    audit(&s, &[]).expect(0);
    // Deny lists and reserved names are the configuration's.
    s.config("deny = [\"pkg:cargo/go*\"]\n[[reserve]]\npattern = \"pkg:cargo/vuln\"\nupstream = \"own\"\n[[upstream]]\necosystem = \"cargo\"\nurl = \"https://own.example/index\"\nname = \"own\"\n");
    let run = audit(&s, &["--format", "json"]);
    run.expect(90);
    let got: Vec<_> = versions(&run).into_iter().map(|(_, v, _, r)| (v, r)).collect();
    let want = [("good 1.0.0", "denied"), ("vuln 1.0.0", "reserved-namespace")];
    assert_eq!(got, want.map(|(a, b)| (a.to_owned(), b.to_owned())), "{}", run.transcript());
    // The audit only reads.
    assert_eq!(s.ledger().len(), before);
    s.fsck();
}

#[test]
fn a_reserved_name_belongs_to_its_own_place() {
    let mut s = sandbox();
    s.config(
        "[[reserve]]\npattern = \"pkg:npm/@acme/*\"\nupstream = \"https://npm.acme.example/\"\n",
    );
    let entry = |name: &str, from: &str| {
        format!("\"node_modules/{name}\": {{\"version\": \"1.0.0\"{from}}}")
    };
    let text = [
        entry("@acme/a", ", \"resolved\": \"https://npm.acme.example/@acme/a/-/a-1.0.0.tgz\""),
        entry("@acme/b", ", \"resolved\": \"https://registry.example/@acme/b/-/b-1.0.0.tgz\""),
        entry("@acme/c", ""),
    ];
    s.write(
        "package-lock.json",
        format!("{{\"lockfileVersion\": 3, \"packages\": {{{}}}}}", text.join(",")),
    );
    let run = audit(&s, &["--format", "json"]);
    run.expect(90);
    let got: Vec<_> = versions(&run).into_iter().map(|(_, v, verdict, _)| (v, verdict)).collect();
    let want =
        [("@acme/a 1.0.0", "admit"), ("@acme/b 1.0.0", "refuse"), ("@acme/c 1.0.0", "admit")];
    assert_eq!(got, want.map(|(a, b)| (a.to_owned(), b.to_owned())), "{}", run.transcript());
    let open = &run.report["documents"][0]["versions"][2]["not_checked"][0]["what"];
    assert_eq!(open, "reservation", "{}", run.transcript());
    audit(&s, &[]).says("reservation not checked");
}

#[test]
fn environments_are_what_lies_in_them() {
    let s = sandbox();
    let site = "venv/lib/python3.12/site-packages";
    s.write("venv/pyvenv.cfg", "home = /usr/bin\n");
    for (name, version) in [("Vuln", "1.0.0"), ("good", "1.0.0")] {
        s.write(
            &format!("{site}/{name}-{version}.dist-info/METADATA"),
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nVersion: 9\n"),
        );
    }
    s.write(&format!("{site}/here-1.0.dist-info/METADATA"), "Name: evil\nVersion: 1.0\n");
    s.write(
        &format!("{site}/here-1.0.dist-info/direct_url.json"),
        "{\"url\": \"file:///srv/evil\", \"dir_info\": {}}",
    );
    let run = audit(&s, &[]);
    run.expect(90)
        .says("venv (Python environment): 2 versions, 1 refused")
        .says("here-1.0.dist-info");
    s.write(&format!("{site}/broken-1.dist-info/RECORD"), "");
    let run = audit(&s, &[site, "--format", "json"]);
    run.expect(90);
    assert_eq!(run.report["counts"]["not_checked"], 1, "{}", run.transcript());

    // npm's own record is not believed about what lies there.
    let s = sandbox();
    let manifest = |name: &str| format!("{{\"name\": \"{name}\", \"version\": \"1.0.0\"}}");
    s.write("node_modules/good/package.json", manifest("good"));
    s.write("node_modules/good/node_modules/@s/vuln/package.json", manifest("vuln"));
    s.write("node_modules/.pnpm/evil@1.0.0/node_modules/evil/package.json", manifest("evil"));
    s.write("node_modules/.bin/x", "");
    let record = format!(
        "{{\"lockfileVersion\": 3, \"packages\": {{\"node_modules/good\": {{\"version\": \"1.0.0\", \"integrity\": \"{SHA512}\", \"dev\": true}}}}}}"
    );
    s.write("node_modules/.package-lock.json", record);
    let run = audit(&s, &["--format", "json"]);
    run.expect(90);
    let mut got: Vec<_> =
        versions(&run).into_iter().map(|(_, v, verdict, _)| format!("{v} {verdict}")).collect();
    got.sort();
    assert_eq!(
        got,
        ["evil 1.0.0 refuse", "good 1.0.0 admit", "vuln 1.0.0 refuse"],
        "{}",
        run.transcript()
    );
    let run = audit(&s, &["--production"]);
    run.says("1 for development left out");
}

#[test]
fn a_system_is_judged_by_its_own_release() {
    let s = sandbox();
    let status = "Package: vuln\nStatus: install ok installed\nVersion: 1.0.0\nArchitecture: all\n";
    s.write("root/var/lib/dpkg/status", status);
    s.write("root/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n");
    audit(&s, &["root"]).expect(90).says("vuln 1.0.0");
    // Of another release or distribution nothing is known, which is not the same as nothing bad.
    for other in ["ID=debian\nVERSION_ID=\"13\"\n", "ID=ubuntu\nVERSION_ID=\"24.04\"\n", ""] {
        s.write("root/etc/os-release", other);
        audit(&s, &["root"]).expect(95).says("NOT CHECKED: advisories of 1 version");
    }
    // Images without dpkg have a file for each package.
    let s = sandbox();
    s.write(
        "root/var/lib/dpkg/status.d/vuln",
        "Package: vuln\nVersion: 1.0.0\nArchitecture: all\n",
    );
    s.write("root/usr/lib/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n");
    audit(&s, &["root"]).expect(90).says("vuln 1.0.0");
}
