//! Declarations of each ecosystem, texts beside them, and the measure over real crates.

use super::*;
use crate::structure::scan_archive;
use crate::structure::tests::mint::{deb, tar_gz, wheel};
use countersign_ecosystem::archive::Limits;
use std::io::Cursor;

const MIT: &[u8] = b"Permission is hereby granted, free of charge, to any person obtaining a copy of this software \
and so on. The above copyright notice and this permission notice shall be included.";

fn licences(name: &str, ecosystem: Ecosystem, bytes: &[u8]) -> Vec<(String, Vec<String>)> {
    let report = scan_archive(name, ecosystem, None, Cursor::new(bytes), &Limits::default());
    let of_kind = report.findings.into_iter().filter(|f| f.kind == FindingKind::Licence);
    of_kind.map(|f| (f.id.strip_prefix("licence.").unwrap().to_owned(), f.aliases)).collect()
}

fn npm(json: &str, text: &[u8]) -> Vec<(String, Vec<String>)> {
    let files: &[(&str, &[u8])] =
        &[("package/package.json", json.as_bytes()), ("package/LICENSE", text)];
    licences("a-1.0.0.tgz", Ecosystem::Npm, &tar_gz(files))
}

fn named(all: &[(String, Vec<String>)]) -> Vec<&str> {
    all.iter().map(|(id, _)| id.as_str()).collect()
}

#[test]
fn what_agrees_is_shown() {
    let all = npm(r#"{"name": "a", "version": "1.0.0", "license": "MIT"}"#, MIT);
    let mit = vec!["MIT".to_owned()];
    assert_eq!(all, [("declared".to_owned(), mit.clone()), ("found".to_owned(), mit)]);
}

#[test]
fn what_contradicts_is_low() {
    let all = npm(r#"{"name": "a", "version": "1.0.0", "license": "Apache-2.0"}"#, MIT);
    assert_eq!(named(&all), ["conflict", "declared", "found"]);
    // An alternative that is declared is enough.
    let all = npm(r#"{"name": "a", "version": "1.0.0", "license": "(Apache-2.0 OR MIT)"}"#, MIT);
    assert_eq!(named(&all), ["declared", "found"]);
    assert_eq!(all[0].1, Vec::<String>::new(), "either can be avoided");
}

#[test]
fn what_is_not_said_is_unknown() {
    assert_eq!(
        named(&npm(r#"{"name": "a", "version": "1.0.0"}"#, b"All rights reserved.")),
        ["unknown"]
    );
    let all = npm(r#"{"name": "a", "version": "1.0.0", "license": "SEE LICENSE IN LICENSE"}"#, MIT);
    assert_eq!(named(&all), ["declared", "found", "not-understood"]);
}

#[test]
fn older_forms_of_npm_are_read() {
    for license in [r#""license": {"type": "MIT"}"#, r#""licenses": [{"type": "MIT", "url": "x"}]"#]
    {
        let all = npm(&format!(r#"{{"name": "a", "version": "1.0.0", {license}}}"#), MIT);
        assert_eq!(named(&all), ["declared", "found"], "{license}");
    }
}

#[test]
fn python_declares_by_expression_classifier_or_name() {
    for (header, want) in [
        ("License-Expression: MIT AND (GPL-2.0-or-later OR BSD-3-Clause)", vec!["MIT"]),
        ("Classifier: License :: OSI Approved :: MIT License", vec!["MIT"]),
        ("License: Apache 2.0", vec!["Apache-2.0"]),
        ("License: GPL-3.0-only", vec!["GPL-3.0-only"]),
    ] {
        let metadata = format!(
            "Metadata-Version: 2.4\nName: a\nVersion: 1.0\n{header}\n\nLicense: no header\n"
        );
        let files: &[(&str, &[u8])] = &[("a-1.0.dist-info/METADATA", metadata.as_bytes())];
        let all = licences(
            "a-1.0-py3-none-any.whl",
            Ecosystem::Pypi,
            &wheel("a-1.0.dist-info", files, |r| r),
        );
        let want: Vec<String> = want.into_iter().map(str::to_owned).collect();
        assert_eq!(all, [("declared".to_owned(), want)], "{header}");
    }
}

#[test]
fn crates_and_debs_declare_as_well() {
    let toml = b"[package]\nname = \"a\"\nversion = \"1.0.0\"\nlicense = \"MIT/Apache-2.0\"\n";
    let files: &[(&str, &[u8])] = &[("a-1.0.0/Cargo.toml", toml), ("a-1.0.0/LICENSE-MIT", MIT)];
    assert_eq!(
        named(&licences("a-1.0.0.crate", Ecosystem::Cargo, &tar_gz(files))),
        ["declared", "found"]
    );
    let control = b"Package: a\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@b.example>\nDescription: x\n";
    let copyright = b"Format: x\n\nFiles: *\nLicense: GPL-2+\n\nFiles: y\nLicense: Expat\n";
    let bytes = deb(&[("./control", control)], &[("./usr/share/doc/a/copyright", copyright)]);
    let all = licences("a_1.0_all.deb", Ecosystem::Debian, &bytes);
    let ids: Vec<&str> = all.iter().flat_map(|(_, ids)| ids.iter().map(String::as_str)).collect();
    assert_eq!(ids, ["MIT", "GPL-2.0-or-later"]);
}

#[test]
fn only_the_packages_own_files_are_licence_files() {
    for (path, want) in [
        ("package/LICENSE", true),
        ("a-1.0/LICENSE-MIT", true),
        ("a-1.0.dist-info/licenses/LICENSE.txt", true),
        ("data/usr/share/doc/a/copyright", true),
        ("package/node_modules/b/LICENSE", false),
        ("a-1.0/src/license.rs", false),
        ("a-1.0/vendor/b/COPYING", false),
    ] {
        assert_eq!(is_licence_file(path), want, "{path}");
    }
}

/// The licence files of the crates that this project is built of agree with what those declare.
#[test]
fn real_licence_files_agree_with_their_declarations() {
    let home = std::env::var_os("CARGO_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|h| h.join(".cargo")));
    let sources = home.map(|h| h.join("registry").join("src"));
    let Some(registries) = sources.and_then(|s| std::fs::read_dir(s).ok()) else {
        eprintln!("skipped: no sources of crates on this machine");
        return;
    };
    let (mut agree, mut differ) = (0usize, Vec::new());
    let folders = registries.flatten().filter_map(|r| std::fs::read_dir(r.path()).ok());
    for folder in folders.flatten().flatten().map(|e| e.path()) {
        let Ok(manifest) = std::fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let license = manifest.parse::<toml::Table>().ok();
        let license = license.as_ref().and_then(|t| t.get("package")?.get("license")?.as_str());
        let Some(declared) = license.map(Declared::parse) else { continue };
        for file in std::fs::read_dir(&folder).unwrap().flatten() {
            let name = file.file_name().to_string_lossy().to_ascii_lowercase();
            // What is called copyright is mostly a list of people.
            if !is_licence_file(&format!("x/{name}"))
                || name.starts_with("copyright")
                || !file.path().is_file()
            {
                continue;
            }
            let found = licences_in(&std::fs::read(file.path()).unwrap());
            let named: Vec<&str> = declared.ids.iter().map(String::as_str).collect();
            if !found.is_empty() && found.iter().all(|id| agrees(id, &named)) {
                agree += 1;
            } else {
                let folder = folder.file_name().unwrap().to_string_lossy().into_owned();
                differ
                    .push(format!("{folder}/{name}: declared {}, found {found:?}", declared.text));
            }
        }
    }
    let all = agree + differ.len();
    if all < 100 {
        eprintln!("skipped: only {all} licence files of crates on this machine");
        return;
    }
    eprintln!("{agree} of {all} licence files agree: {differ:#?}");
    assert!(agree * 100 >= all * 97, "{agree} of {all} agree: {differ:#?}");
}
