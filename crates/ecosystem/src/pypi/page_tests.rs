use super::*;
use crate::pypi::{parse_file_name, root_html};
use proptest::prelude::*;

const SHA: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

fn page_url() -> Url {
    Url::parse("https://registry.example/simple/demo/").unwrap()
}

fn parse(body: &str) -> Result<ProjectPage, IndexError> {
    parse_project("text/html", body.as_bytes(), &page_url(), &IndexLimits::default())
}

fn sha256() -> ExpectedDigest {
    ExpectedDigest::from_hex(Algorithm::Sha256, SHA).unwrap()
}

#[test]
fn json_pages_are_read_with_all_their_fields() {
    let page = parse(&format!(
        r#"{{"meta":{{"api-version":"1.4"}},"name":"Demo","project-status":{{"status":"quarantined"}},
        "files":[{{"filename":"demo-1.0-py3-none-any.whl","url":"../../f/demo-1.0-py3-none-any.whl",
        "hashes":{{"sha256":"{SHA}","blake2b":"zz"}},"requires-python":">=3.8","yanked":"bad <b>",
        "upload-time":"2024-01-02T03:04:05.6Z","size":7,"core-metadata":{{"sha256":"{SHA}"}},
        "provenance":"https://registry.example/p"}}]}}"#
    ))
    .unwrap();
    let file = &page.files[0];
    assert_eq!(page.name, "demo");
    assert_eq!(page.status.as_deref(), Some("quarantined"));
    assert_eq!(file.url.as_str(), "https://registry.example/f/demo-1.0-py3-none-any.whl");
    assert_eq!(file.digests, [sha256()]);
    assert_eq!(file.requires_python.as_deref(), Some(">=3.8"));
    assert_eq!(file.yanked.as_deref(), Some("bad <b>"));
    assert_eq!(file.upload_time, Timestamp::parse("2024-01-02T03:04:05Z"));
    assert_eq!((file.size, file.kind), (Some(7), FileKind::Wheel));
    assert_eq!(file.core_metadata, Some(vec![sha256()]));
    assert_eq!(file.provenance.as_ref().unwrap().path(), "/p");
    assert_eq!(page.versions(), ["1.0"]);
}

#[test]
fn html_pages_are_read_with_all_their_attributes() {
    let page = parse(&format!(
        r#"<!DOCTYPE html><html><head><base href="/pool/"><base href="https://evil.example/">
        <meta name="pypi:repository-version" content="1.3"></head><body>
        <script><a href="demo-9.tar.gz">demo-9.tar.gz</a></script><!-- <a href="demo-8.tar.gz"> -->
        <A HREF="demo-1.0%2Blocal.tar.gz#sha256={SHA}" data-requires-python="&gt;=3.8,&#60;4"
           data-yanked data-dist-info-metadata="true" data-core-metadata="sha256={SHA}"
           data-gpg-sig="true" data-upload-time="2024-01-02T03:04:05Z"
           data-provenance="https://registry.example/p">demo-1.0+local.tar.gz</A>
        <a href="/f/demo-2.0.tar.gz">demo-2.0.tar.gz</a>"#
    ))
    .unwrap();
    assert_eq!(page.files.len(), 2, "{page:?}");
    let file = &page.files[0];
    assert_eq!(file.file_name, "demo-1.0+local.tar.gz");
    assert_eq!(file.url.as_str(), "https://registry.example/pool/demo-1.0%2Blocal.tar.gz");
    assert_eq!(file.digests, [sha256()]);
    assert_eq!(file.requires_python.as_deref(), Some(">=3.8,<4"));
    assert_eq!(file.yanked.as_deref(), Some(""));
    assert_eq!(file.core_metadata, Some(vec![sha256()]));
    assert_eq!(file.gpg_sig, Some(true));
    assert_eq!(file.upload_time, Timestamp::parse("2024-01-02T03:04:05Z"));
    assert!(file.provenance.is_some());
    assert_eq!(page.files[1].url.path(), "/f/demo-2.0.tar.gz");
}

#[test]
fn what_must_not_be_offered_is_dropped_and_counted() {
    for (why, link) in [
        ("scheme", r#"<a href="file:///etc/demo-1.0.tar.gz">demo-1.0.tar.gz</a>"#),
        ("scheme", r#"<a href="javascript:demo-1.0.tar.gz">x</a>"#),
        ("project", r#"<a href="other-1.0.tar.gz">other-1.0.tar.gz</a>"#),
        ("slash", r#"<a href="x%2Fdemo-1.0.tar.gz">x</a>"#),
        ("backslash", r#"<a href="..%5Cdemo-1.0.tar.gz">x</a>"#),
        ("control", r#"<a href="demo-1.0%0A.tar.gz">x</a>"#),
        ("two names", r#"<a href="demo-1.0.tar.gz">demo-2.0.tar.gz</a>"#),
        ("digest", r#"<a href="demo-1.0.tar.gz#sha256=12">demo-1.0.tar.gz</a>"#),
        ("kind", r#"<a href="demo-1.0.txt">demo-1.0.txt</a>"#),
    ] {
        let page = parse(&format!("<html>{link}</html>")).unwrap();
        assert_eq!((page.files.len(), page.rejected), (0, 1), "{why}");
    }
    let twice =
        r#"<a href="a/demo-1.0.zip">demo-1.0.zip</a><a href="b/demo-1.0.zip">demo-1.0.zip</a>"#;
    let page = parse(twice).unwrap();
    assert_eq!((page.files.len(), page.rejected), (1, 1));
    assert!(page.file("demo-1.0.zip").unwrap().url.path().ends_with("/a/demo-1.0.zip"));
    let json = format!(
        r#"{{"name":"demo","files":[1,{{"filename":"demo-1.zip"}},{{"filename":"demo-1.zip",
        "url":"x/demo-1.zip#sha256={}","hashes":{{"sha256":"{SHA}"}}}}]}}"#,
        "0".repeat(64)
    );
    assert_eq!(parse(&json).unwrap().rejected, 3);
}

#[test]
fn pages_that_cannot_be_trusted_to_be_one_are_errors() {
    for body in [
        "",
        "  ",
        r#"{"name":"demo"}"#,
        r#"{"files":[]}"#,
        r#"{"name":"demo","files":{}}"#,
        r#"{"meta":{"api-version":"2.0"},"name":"demo","files":[]}"#,
        r#"<meta name="pypi:repository-version" content="2.0">"#,
        r#"{"name":"demo","files":["#,
    ] {
        assert!(matches!(parse(body), Err(IndexError::Malformed { .. })), "{body}");
    }
    let other = parse(r#"{"name":"other","files":[]}"#);
    assert!(matches!(other, Err(IndexError::NameMismatch { .. })));
    let limits = IndexLimits { max_bytes: 10, ..IndexLimits::default() };
    let big = parse_project("", &[b'<'; 11], &page_url(), &limits);
    assert!(matches!(big, Err(IndexError::TooLarge { .. })));
    let limits = IndexLimits { max_entries: 2, ..IndexLimits::default() };
    let many = "<a href=demo-1.zip></a>".repeat(3);
    let many = parse_project("", many.as_bytes(), &page_url(), &limits);
    assert!(matches!(many, Err(IndexError::TooManyEntries { .. })));
    assert!(
        parse_project("application/json", b"oops", &page_url(), &IndexLimits::default()).is_err()
    );
}

#[test]
fn the_page_is_named_by_its_url() {
    for (url, want) in [
        ("https://registry.example/simple/De_mo", Some("de-mo")),
        ("https://registry.example/simple/demo/index.html", Some("demo")),
        ("https://registry.example/", None),
        ("https://registry.example/simple/a%20b/", None),
    ] {
        let got = parse_project("", b"<html>", &Url::parse(url).unwrap(), &IndexLimits::default());
        assert_eq!(got.ok().map(|p| p.name).as_deref(), want, "{url}");
    }
}

fn any_digest() -> impl Strategy<Value = ExpectedDigest> {
    any::<[u8; 32]>()
        .prop_map(|b| ExpectedDigest::from_bytes(Algorithm::Sha256, b.to_vec()).unwrap())
}

fn any_file() -> impl Strategy<Value = IndexFile> {
    let name = prop_oneof![
        "demo-[1-9][0-9]?\\.[0-9]{1,4}(\\+l[a-z]{0,3})?\\.tar\\.gz",
        "Demo-[1-9][0-9]?(\\.post[0-9])?-py3-none-any\\.whl",
        "demo-[1-9]-py2\\.7\\.egg",
    ];
    let text = prop::option::of("[ -~]{1,20}|\\PC{1,12}");
    let parts = (
        name,
        prop::option::of(any_digest()),
        text.clone(),
        prop::option::of("\\PC{0,12}"),
        prop::option::of(0i64..4_000_000_000),
        prop::option::of(any::<u64>()),
        prop::option::of(prop::option::of(any_digest())),
        prop::option::of(any::<bool>()),
    );
    parts.prop_map(|(file_name, digest, requires, yanked, time, size, metadata, gpg_sig)| {
        let dist = parse_file_name(&file_name).unwrap();
        let url = page_url().join(&format!("/f/{file_name}?a=b&c='d'")).unwrap();
        IndexFile {
            digests: digest.into_iter().collect(),
            requires_python: requires.map(|t| crate::text::clean(&t)).filter(|t| !t.is_empty()),
            yanked: yanked.map(|t| crate::text::clean(&t)),
            upload_time: time.map(Timestamp),
            size,
            core_metadata: metadata.map(|d| d.into_iter().collect()),
            gpg_sig,
            provenance: Some(page_url().join("p?x=1&y=\"2\"").unwrap()),
            kind: dist.kind,
            version: Some(dist.version),
            file_name,
            url,
        }
    })
}

fn any_page() -> impl Strategy<Value = ProjectPage> {
    (prop::collection::vec(any_file(), 0..6), prop::option::of("[a-z<&\"']{1,9}")).prop_map(
        |(mut files, status)| {
            let mut seen = HashSet::new();
            files.retain(|f| seen.insert(f.file_name.clone()));
            let status_reason = status.clone().map(|s| s + " because");
            ProjectPage { name: "demo".to_owned(), files, rejected: 0, status, status_reason }
        },
    )
}

proptest! {
    #[test]
    fn json_round_trips(page in any_page()) {
        let json = page.to_json();
        let again = parse_project("", &json, &page_url(), &IndexLimits::default()).unwrap();
        prop_assert_eq!(again, page);
    }

    #[test]
    fn html_round_trips_but_for_sizes(mut page in any_page()) {
        let html = page.to_html();
        for file in &mut page.files {
            file.size = None;
        }
        let again = parse_project("", &html, &page_url(), &IndexLimits::default()).unwrap();
        prop_assert_eq!(again, page);
    }

    #[test]
    fn hostile_pages_never_panic(
        body in "[<>a-z\"'=/ !&#;{}\\[\\]:,-]{0,200}|(<a href=\\PC{0,30}>\\PC{0,9}</a>){0,4}",
    ) {
        let _ = parse(&body);
        let _ = parse(&format!("{{{body}"));
    }
}

#[test]
fn the_list_of_projects_is_escaped() {
    let html = root_html(&["flask".to_owned(), "a<b".to_owned()]);
    let html = String::from_utf8(html).unwrap();
    assert!(html.contains("<a href=\"flask/\">flask</a>"), "{html}");
    assert!(html.contains("a&lt;b") && !html.contains("a<b"), "{html}");
}
