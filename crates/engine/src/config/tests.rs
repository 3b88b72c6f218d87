use super::*;
use crate::upstream::Upstream;
use countersign_core::{Ecosystem, Purl, Reservation};
use std::time::Duration;

fn problems(text: &str) -> Vec<(usize, String)> {
    let error = Config::parse("c.toml", text).unwrap_err();
    error.problems.iter().map(|p| (p.line, format!("{}; {}", p.what, p.remedy))).collect()
}

#[test]
fn everything_that_is_wrong_is_named_at_once_with_its_line() {
    let text = r#"policy = 3
denny = []
deny = ["nonsense"]

[[upstream]]
ecosystem = "ruby"
url = "https://registry.example/"

[[upstream]]
url = "ftp://registry.example/"
credential = { env = "A", file = "b" }

[[upstream]]
ecosystem = "npm"
url = "https://me:secret@registry.example/"
keyring = "/k"

[serve]
listen = ["127.0.0.1", "[::1]:80"]
public-url = "gate.example"
allowed_hosts = ["x"]
trusted-proxies = ["10.0.0.0/33"]
tokens = [{ name = "a b", sha256 = "00" }]
index-seconds = "5"
grace-seconds = -1
log = "xml"

[serve.tls]
certificate = "c.pem"
"#;
    let want = [
        (1, "`policy` is a whole number"),
        (2, "did you mean `deny`?"),
        (3, "`nonsense`"),
        (6, "`ruby` is no ecosystem"),
        (9, "`ecosystem` in `upstream` is missing"),
        (10, "is not an http or https address"),
        (11, "`credential` is kept in two places"),
        (15, "holds a credential in its address"),
        (16, "`keyring` says nothing"),
        (19, "`127.0.0.1` is no address to listen on"),
        (20, "`gate.example` is no http or https address"),
        (21, "did you mean `allowed-hosts`?"),
        (22, "`10.0.0.0/33` is no range of addresses"),
        (23, "is no digest of 64 hexadecimal digits"),
        (24, "without quotes"),
        (25, "`grace-seconds` in `serve` cannot be -1"),
        (26, "`xml` is no form of log"),
        (28, "`key` in `serve.tls` is missing"),
    ];
    let got = problems(text);
    for (line, part) in want {
        assert!(got.iter().any(|(l, p)| *l == line && p.contains(part)), "{line} {part}: {got:#?}");
    }
    assert_eq!(got.len(), want.len(), "{got:#?}");
    assert!(!got.iter().any(|(_, p)| p.contains("secret")), "{got:#?}");
}

#[test]
fn the_text_of_an_error_names_file_line_and_remedy() {
    let error = Config::parse("c.toml", "policy = \"strict\"\n  denny = []\n").unwrap_err();
    let want = "`c.toml` is not a usable configuration:\n  c.toml:2:3: `denny` is no key; did you mean `deny`?";
    assert_eq!(error.to_string(), want);
}

#[test]
fn what_is_no_toml_is_an_error_and_never_a_panic() {
    for text in
        ["= =", "[serve", "a = [", "[[upstream]]\n[upstream]", "\u{0}", "x = \"\\q\"", "a.b=1\na=2"]
    {
        assert!(!problems(text).is_empty(), "{text}");
    }
    let deep = format!("x = {}1{}", "[".repeat(5000), "]".repeat(5000));
    assert!(!problems(&deep).is_empty());
}

#[test]
fn a_whole_configuration_is_read() {
    let digest = "ab".repeat(32);
    let text = format!(
        r#"
[[upstream]]
ecosystem = "pypi"
name = "internal"
url = "https://pypi.acme.example/simple/"
credential = {{ command = ["print-token", "pypi"], seconds = 60, scheme = "raw" }}
ca = "/etc/acme.pem"

[[upstream]]
ecosystem = "debian"
name = "debian"
url = "http://deb.example/debian"
keyring = "/usr/share/keyrings/archive.gpg"

[serve]
listen = "[::]:8417"
public-url = "https://gate.example"
allowed-hosts = ["gate.example", "gate:8417"]
trusted-proxies = ["10.0.0.0/8", "fd00::1"]
tokens = [{{ name = "ci", sha256 = "{digest}" }}]
index-seconds = 60
memory = {{ document-bytes = 1, artifact-bytes = 0 }}
log = "json"
otlp = "http://127.0.0.1:4318"

[serve.tls]
certificate = "c.pem"
key = "k.pem"
"#
    );
    let (config, _) = Config::parse("c", &text).unwrap();
    let first = &config.upstream[0];
    let place = CredentialPlace::Command {
        words: vec!["print-token".into(), "pypi".into()],
        lifetime: Duration::from_secs(60),
    };
    assert_eq!(first.credential, Some(CredentialConfig { place, scheme: CredentialScheme::Raw }));
    assert_eq!(first.ca.as_deref(), Some("/etc/acme.pem".as_ref()));
    let serve = &config.serve;
    assert_eq!(serve.listen, ["[::]:8417".parse().unwrap()]);
    assert_eq!(serve.tokens[0].name, "ci");
    assert_eq!(serve.log, LogForm::Json);
    assert_eq!((serve.index_seconds, serve.stale_days), (60, 7));
    assert_eq!((serve.memory.documents, serve.memory.artifacts), (1, 0));
    assert!(serve.tls.is_some() && serve.otlp.is_some());
}

#[test]
fn the_same_upstream_twice_is_a_fault() {
    let one = "[[upstream]]\necosystem = \"npm\"\nurl = \"https://r.example\"\n";
    let got = problems(&format!("{one}{}", one.replace("example\"", "example/\"")));
    assert!(got.len() == 1 && got[0].0 == 4 && got[0].1.contains("twice"), "{got:?}");
}

#[test]
fn a_file_of_tokens_is_read_as_strictly() {
    let digest = "cd".repeat(32);
    let good = format!("[[token]]\nname = \"ci\"\nsha256 = \"{digest}\"\n");
    assert_eq!(TokenConfig::parse_file("t", &good).unwrap().len(), 1);
    let twice = format!("{good}{good}x = 1\n");
    let error = TokenConfig::parse_file("t", &twice).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
}

#[test]
fn ranges_are_addresses_with_a_length() {
    for (text, want) in [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
    ] {
        assert_eq!(text.parse::<AddressRange>().unwrap().to_string(), want);
    }
    for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "x", "10.0.0.0/-1"] {
        assert!(text.parse::<AddressRange>().is_err(), "{text}");
    }
}

#[test]
fn reserved_names_belong_to_one_upstream() {
    let (_, lists) = Config::parse(
        "c",
        "[[reserve]]\npattern = \"pkg:npm/@acme/*\"\nupstream = \"https://npm.acme.example\"\n",
    )
    .unwrap();
    let purl = Purl::new(Ecosystem::Npm, "@acme/tools", Some("1.0.0"));
    let public = Upstream::new(Ecosystem::Npm, "https://registry.example/").unwrap();
    let own = Upstream::new(Ecosystem::Npm, "https://npm.acme.example/").unwrap();
    assert!(matches!(lists.reservation(&purl, &public), Reservation::Elsewhere { .. }));
    assert_eq!(lists.reservation(&purl, &own), Reservation::Here);
    let other = Purl::new(Ecosystem::Npm, "lodash", Some("1.0.0"));
    assert_eq!(lists.reservation(&other, &public), Reservation::None);
}
