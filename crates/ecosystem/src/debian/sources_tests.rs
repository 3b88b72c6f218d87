use super::*;
use countersign_core::Sha256Digest;

fn digest(byte: u8) -> String {
    Sha256Digest([byte; 32]).to_hex()
}

fn sources_text() -> String {
    format!(
        "Package: hello\nBinary: hello\nVersion: 1:2.10-3\nFormat: 3.0 (quilt)\nFiles:\n \
         {m} 10 hello_2.10-3.dsc\nChecksums-Sha256:\n {a} 10 hello_2.10-3.dsc\n \
         {b} 20 hello_2.10.orig.tar.gz\nDirectory: pool/main/h/hello\nPackage-List:\n hello deb\n\n\
         Package: flat\nVersion: 1\nDirectory: .\nchecksums-sha256:\n {a} 1 flat_1.dsc\n\n\n\
         Package: weak\nVersion: 2\nDirectory: pool/w\nFiles:\n {m} 10 weak_2.dsc",
        m = "0".repeat(32),
        a = digest(1),
        b = digest(2),
    )
}

#[test]
fn sources_parse_as_a_stream() {
    let text = sources_text();
    let all: Vec<_> = parse_sources(text.as_bytes(), PackagesLimits::default())
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!((all[0].package.as_str(), all[0].version.as_str()), ("hello", "1:2.10-3"));
    assert_eq!(
        all[0].files[1],
        SourceFile {
            name: "hello_2.10.orig.tar.gz".into(),
            size: 20,
            sha256: Sha256Digest([2; 32])
        }
    );
    let paths = |r: &SourceRecord| r.files.iter().map(|f| r.path_of(f)).collect::<Vec<_>>();
    assert_eq!(
        paths(&all[0]),
        ["pool/main/h/hello/hello_2.10-3.dsc", "pool/main/h/hello/hello_2.10.orig.tar.gz"]
    );
    assert_eq!(paths(&all[1]), ["flat_1.dsc"]);
    assert!(all[2].files.is_empty(), "weak digests vouch for nothing");
}

#[test]
fn malformed_sources_are_errors() {
    let good =
        format!("Package: a\nVersion: 1\nDirectory: p\nChecksums-Sha256:\n {} 1 x\n", digest(1));
    let limits = PackagesLimits { max_bytes: 2000, max_line_bytes: 100 };
    let first_error =
        |text: &str| parse_sources(text.as_bytes(), limits.clone()).find_map(Result::err);
    assert_eq!(first_error(&good), None);
    for text in [
        format!("{good}Version: 2\n"),
        format!("{good}Checksums-Sha256:\n"),
        good.replace("Checksums-Sha256:", "Checksums-Sha256: x"),
        good.replace(" 1 x", " 1 ../x"),
        good.replace(" 1 x", " 1 .."),
        good.replace(" 1 x", " 1"),
        good.replace(" 1 x", " 1 x y"),
        good.replace(" 1 x", " -1 x"),
        good.replace(&digest(1), "00ff"),
        good.replace("Directory: p\n", ""),
        good.replace("Version: 1\n", "Version:\n"),
        format!(" x\n{good}"),
        format!("{good}no field\n"),
        format!("{good}Binary: {}\n", "x".repeat(200)),
        format!("{good}\n").repeat(30),
    ] {
        assert!(first_error(&text).is_some(), "{text}");
    }
    let mut after_error = parse_sources(&b"x\n"[..], limits.clone());
    assert!(after_error.next().unwrap().is_err() && after_error.next().is_none());
}

#[test]
fn more_files_than_any_package_has_are_too_many() {
    let line = format!(" {} 1 x\n", digest(1));
    let text =
        format!("Package: a\nVersion: 1\nDirectory: p\nChecksums-Sha256:\n{}", line.repeat(2001));
    let mut sources = parse_sources(text.as_bytes(), PackagesLimits::default());
    assert!(matches!(sources.next(), Some(Err(Deb822Error::TooLarge { what: "files", .. }))));
}

#[test]
fn descriptions_parse_signed_or_not() {
    let plain =
        "Format: 3.0 (quilt)\nSource: hello\nBinary: hello\nVersion: 2.10-3\nFiles:\n 0 1 x\n";
    let signed = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{plain}\n\
         -----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
    );
    for (text, is_signed) in [(plain.to_owned(), false), (signed, true)] {
        let d = parse_dsc(text.as_bytes()).unwrap();
        assert_eq!((d.source.as_str(), d.version.as_str()), ("hello", "2.10-3"));
        assert_eq!(d.signed, is_signed);
    }
    for bad in [
        &b""[..],
        b"Source: a\n",
        b"Source: \xff\nVersion: 1\n",
        b"Source: a\nVersion: 1\n\nSource: b\nVersion: 1\n",
        b"-----BEGIN PGP SIGNED MESSAGE-----",
        b"\x1f\x8b\x08\x00",
    ] {
        assert!(parse_dsc(bad).is_err(), "{bad:?}");
    }
    assert!(parse_dsc(&vec![b'\n'; (1 << 20) + 1]).is_err());
}
