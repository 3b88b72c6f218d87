use super::*;
use countersign_core::{Sha256Digest, Timestamp};
use std::io::Write as _;

fn digest(byte: u8) -> String {
    Sha256Digest([byte; 32]).to_hex()
}

#[test]
fn paragraphs_parse_with_continuations_and_comments() {
    let text =
        "\n# a comment\nPackage: a\nDescription: short\n long\n .\n more\n\n\nPACKAGE:b\nEmpty:\n";
    let p = parse_paragraphs(text, &Deb822Limits::default()).unwrap();
    assert_eq!(p.len(), 2);
    assert_eq!(p[0].get("description"), Some("short\nlong\n.\nmore"));
    assert_eq!(p[1].get("Package"), Some("b"));
    assert_eq!(p[1].get("Empty"), Some(""));
    assert_eq!(p[1].fields().count(), 2);
    assert!(p[1].require("empty").is_err());
}

#[test]
fn what_is_no_deb822_is_named() {
    let parse = |text: &str| parse_paragraphs(text, &Deb822Limits::default()).unwrap_err();
    assert_eq!(
        parse("A: 1\na: 2\n"),
        Deb822Error::DuplicateField { line: 2, field: "a".to_owned() }
    );
    for (text, line) in
        [(" x\n", 1), ("A: 1\n\n y\n", 3), ("A: 1\nno field\n", 2), (": x", 1), ("a b: c", 1)]
    {
        assert!(
            matches!(parse(text), Deb822Error::NoField { line: l, .. } if l == line),
            "{text:?}"
        );
    }
}

#[test]
fn limits_hold() {
    let tight = Deb822Limits { max_bytes: 20, max_paragraphs: 2, max_fields: 2 };
    for text in ["A: 1234567890123456789\n", "A: 1\nB: 2\nC: 3\n", "A: 1\n\nA: 2\n\nA: 3\n\n"] {
        let e = parse_paragraphs(text, &tight).unwrap_err();
        assert!(matches!(e, Deb822Error::TooLarge { .. }), "{text:?}: {e}");
    }
}

#[test]
fn release_files_parse() {
    let text = format!(
        "Origin: Debian\nSuite: stable\nCodename: bookworm\nDate: Sat, 12 Jul 2025 08:30:01 UTC\n\
         Valid-Until: Sat, 19 Jul 2025 08:30:01 UTC\nAcquire-By-Hash: yes\nComponents: main contrib\n\
         MD5Sum:\n {md5} 12 main/x\nSHA256:\n {a} 1234 main/binary-amd64/Packages\n {b}     5 main/binary-amd64/Packages.xz\n",
        md5 = "0".repeat(32),
        a = digest(1),
        b = digest(2),
    );
    let r = parse_release(&text).unwrap();
    assert_eq!(r.origin.as_deref(), Some("Debian"));
    assert_eq!(r.date, Some(Timestamp(1_752_309_001)));
    assert_eq!(r.valid_until.unwrap().hours_since(r.date.unwrap()), 7 * 24);
    assert!(r.acquire_by_hash && !r.weak_only);
    assert_eq!(r.components, ["main", "contrib"]);
    assert_eq!(r.sha256["main/binary-amd64/Packages.xz"], (Sha256Digest([2; 32]), 5));
    let strong = format!("SHA512:\n {} 5 main/x\n", "AB".repeat(64));
    assert_eq!(parse_release(&strong).unwrap().sha512["main/x"], "ab".repeat(64));
}

#[test]
fn a_release_file_with_broken_digests_only_is_weak() {
    let weak = format!("Date: Sat, 12 Jul 2025 08:30:01 UTC\nMD5Sum:\n {} 1 x\n", "0".repeat(32));
    assert!(parse_release(&weak).unwrap().weak_only);
}

#[test]
fn release_files_that_contradict_themselves_are_errors() {
    let (a, b) = (digest(1), digest(2));
    for text in [
        format!("SHA256:\n {a} 1 x\n {b} 1 x\n"),
        format!("SHA256:\n {a} x\n"),
        "SHA256:\n 00ff 1 x\n".to_owned(),
        "SHA512:\n 00ff 1 x\n".to_owned(),
        format!("SHA512:\n {} 1\n", "0".repeat(128)),
        format!("SHA256:\n {a} -1 x\n"),
        format!("SHA256:\n {a} 1 x y\n"),
        "Date: tomorrow\n".to_owned(),
        "Date: Sat, 12 Jul 2025 08:30:01 UTC\n\nDate: Sat, 12 Jul 2025 08:30:01 UTC\n\nA: b\n"
            .to_owned(),
        String::new(),
    ] {
        assert!(parse_release(&text).is_err(), "{text}");
    }
}

fn packages_text() -> String {
    format!(
        "Package: hello\nSource: hello-src (1.0-2)\nVersion: 2:1.0-3+b1\nArchitecture: amd64\n\
         Description: greets\n a lot\nFilename: pool/main/h/hello/hello_1.0-3_amd64.deb\nSize: 10\n\
         SHA256: {a}\n\nPackage: other\nVersion: 1\nArchitecture: all\nfilename: pool/o.deb\n\
         Size: 11\nMD5sum: {m}\n\nPackage: third\nSource: src\nVersion: 3\nArchitecture: all\n\
         Filename: pool/t.deb\nSize: 12\nSHA256: {b}",
        a = digest(1),
        b = digest(2),
        m = "0".repeat(32),
    )
}

#[test]
fn packages_parse_as_a_stream() {
    let text = packages_text();
    let all: Vec<_> = parse_packages(text.as_bytes(), PackagesLimits::default())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(
        all[0],
        PackageRecord {
            package: "hello".into(),
            version: "2:1.0-3+b1".into(),
            architecture: "amd64".into(),
            filename: "pool/main/h/hello/hello_1.0-3_amd64.deb".into(),
            size: 10,
            sha256: Some(Sha256Digest([1; 32])),
            source: "hello-src".into(),
            source_version: "1.0-2".into(),
        }
    );
    assert_eq!((all[1].sha256, all[1].source.as_str()), (None, "other"));
    assert_eq!((all[2].source.as_str(), all[2].source_version.as_str()), ("src", "3"));
}

#[test]
fn packages_are_found_by_file_name() {
    let found = find_in_packages(
        packages_text().as_bytes(),
        &["pool/o.deb", "nope"],
        PackagesLimits::default(),
    );
    let found = found.unwrap();
    assert_eq!(found.iter().map(|p| p.package.as_str()).collect::<Vec<_>>(), ["other"]);
}

#[test]
fn malformed_packages_are_errors() {
    let good = "Package: a\nVersion: 1\nArchitecture: all\nFilename: x\nSize: 1\n";
    let limits = PackagesLimits { max_bytes: 1000, max_line_bytes: 100 };
    let first_error =
        |text: &str| parse_packages(text.as_bytes(), limits.clone()).find_map(Result::err);
    assert_eq!(first_error(good), None);
    for text in [
        format!("{good}Size: 2\n"),
        format!("{good}sha256: 12\n"),
        good.replace("Size: 1", "Size: many"),
        good.replace("Version: 1\n", ""),
        format!(" x\n{good}"),
        format!("{good}no field\n"),
        format!("{good}Depends: {}\n", "x".repeat(200)),
        format!("{good}\n").repeat(30),
    ] {
        assert!(first_error(&text).is_some(), "{text}");
    }
    let mut after_error = parse_packages(&b"x\n"[..], limits.clone());
    assert!(after_error.next().unwrap().is_err() && after_error.next().is_none());
}

#[test]
fn indexes_unpack_by_their_suffix() {
    let text = packages_text().repeat(50).into_bytes();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&text).unwrap();
    let mut xz = Vec::new();
    liblzma::read::XzEncoder::new(&*text, 1).read_to_end(&mut xz).unwrap();
    let mut bz2 = Vec::new();
    bzip2::read::BzEncoder::new(&*text, bzip2::Compression::fast()).read_to_end(&mut bz2).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&text).unwrap();
    let lz4 = lz4.finish().unwrap();
    for (name, packed) in [
        ("Packages", text.clone()),
        ("Packages.gz", gz.finish().unwrap()),
        ("Packages.xz", xz),
        ("Packages.bz2", bz2),
        ("Packages.zst", zstd::encode_all(&*text, 1).unwrap()),
        ("a_Packages.lz4", [lz4.clone(), lz4[..0].to_vec()].concat()),
    ] {
        let mut out = Vec::new();
        decompress_index(name, &*packed).unwrap().read_to_end(&mut out).unwrap();
        assert!(out == text, "{name}");
    }
    let mut out = Vec::new();
    let frames = [lz4.clone(), lz4].concat();
    decompress_index("x.lz4", &*frames).unwrap().read_to_end(&mut out).unwrap();
    assert_eq!(out.len(), 2 * text.len(), "two frames");
    assert!(decompress_index("x.xz", &b"plain"[..]).unwrap().read_to_end(&mut Vec::new()).is_err());
}

#[test]
fn control_files_parse() {
    let c = parse_control(b"Package: a\nVersion: 1:2-3\nArchitecture: all\nDescription: x\n y\n")
        .unwrap();
    assert_eq!(
        (c.package.as_str(), c.version.as_str(), c.architecture.as_str()),
        ("a", "1:2-3", "all")
    );
    for bad in [
        &b"Package: a\nVersion: 1\n"[..],
        b"",
        b"Package: \xff\nVersion: 1\nArchitecture: all\n",
        b"Package: a\nVersion: 1\nArchitecture: all\n\nPackage: b\n",
    ] {
        assert!(parse_control(bad).is_err());
    }
}

#[test]
fn index_targets_parse_as_apt_prints_them() {
    let text = "MetaKey: main/binary-amd64/Packages\nShortDesc: Packages\n\
        URI: http://mirror.example/debian/dists/bookworm/main/binary-amd64/Packages\n\
        Filename: /var/lib/apt/lists/mirror.example_debian_Packages.lz4\nOptional: no\n\
        Codename: bookworm\nOrigin: Debian\nSuite: stable\nTrusted: yes\nArchitecture: amd64\n\
        Base-URI: http://mirror.example/debian/dists/bookworm/\nBy-Hash: yes\nComponent: main\n\
        Created-By: Packages\nFallback-Of: \nRelease: bookworm\n\
        Repo-URI: http://mirror.example/debian/\nSite: http://mirror.example/debian\n\
        Sourcesentry: /etc/apt/sources.list.d/debian.sources:1\nTarget-Of: deb\n";
    let two = format!("{text}\n{}", text.replace("Trusted: yes\n", "Signed-By: /k.gpg\n"));
    let targets = parse_index_targets(&two).unwrap();
    assert_eq!(targets.len(), 2);
    let t = &targets[0];
    assert_eq!(t.meta_key, "main/binary-amd64/Packages");
    assert_eq!(t.repo_uri.as_deref(), Some("http://mirror.example/debian/"));
    assert_eq!((t.trusted, t.by_hash, t.signed_by.as_deref()), (Some(true), Some(true), None));
    assert_eq!((targets[1].trusted, targets[1].signed_by.as_deref()), (None, Some("/k.gpg")));
    assert_eq!(parse_index_targets("").unwrap(), []);
    assert!(parse_index_targets("MetaKey: x\n").is_err());
}

#[test]
fn deb_file_names_parse() {
    let named = |path| deb_file_name(path);
    let want = |a: &str, b: &str, c: &str| Some((a.to_owned(), b.to_owned(), c.to_owned()));
    for (path, expected) in [
        ("pool/main/h/hello/hello_2.10-3_amd64.deb", want("hello", "2.10-3", "amd64")),
        ("git_1%3a2.39.5-0+deb12u3_amd64.deb", want("git", "1:2.39.5-0+deb12u3", "amd64")),
        ("libstdc%2B%2B6_12_all.udeb", want("libstdc++6", "12", "all")),
        ("a_1~rc1_arm64.deb", want("a", "1~rc1", "arm64")),
        ("hello_amd64.deb", None),
        ("a_b_c_d.deb", None),
        ("hello_1_amd64.rpm", None),
        ("he%2Fllo_1_amd64.deb", None),
        ("hello_1%0a_amd64.deb", None),
        ("hello_1%zz_amd64.deb", None),
        ("hello_1%+1_amd64.deb", None),
        ("hello_1_amd64%3", None),
        ("__.deb", None),
    ] {
        assert_eq!(named(path), expected, "{path}");
    }
}
