//! `/metrics`, read as strictly as a collector may.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    missing_docs,
    dead_code,
    unreachable_pub,
    reason = "tests fail by panicking, and each uses a part of the shared support"
)]

mod support;

use countersign_core::{Ecosystem, ReasonCode, Verdict};
use countersign_gateway::server::ServerOptions;
use std::collections::{BTreeMap, BTreeSet};
use support::client::get;
use support::{Double, project, start};

/// Samples by name and labels.
type Samples = BTreeMap<(String, Vec<(String, String)>), f64>;

/// Reads Prometheus' text format 0.0.4; panics on whatever breaks its rules.
fn parse(text: &str) -> (Samples, BTreeMap<String, String>) {
    assert!(text.ends_with('\n') && !text.contains('\r'));
    let mut kinds = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut samples = Samples::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("help has words");
            assert!(!help.is_empty() && helped.insert(name.to_owned()), "{line}");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family, "TYPE follows its HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            let (name, labels, value) = sample(line);
            let base = match kinds.get(&family).map(String::as_str) {
                Some("histogram") => {
                    let ends = ["_bucket", "_sum", "_count"];
                    ends.iter().find_map(|e| name.strip_suffix(e)).unwrap_or(&name).to_owned()
                }
                Some(_) => name.clone(),
                None => panic!("{line} has no TYPE"),
            };
            assert_eq!(base, family, "samples stand below their family");
            assert!(name.starts_with("countersign_"));
            assert!(samples.insert((name, labels), value).is_none(), "twice: {line}");
        }
    }
    assert_eq!(helped, kinds.keys().cloned().collect());
    (samples, kinds)
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let name = &line[..end];
    assert!(is_name(name), "{line}");
    let mut rest = &line[end..];
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").unwrap();
            assert!(is_name(label), "{line}");
            let mut value = String::new();
            let mut chars = after.char_indices();
            let closed = loop {
                match chars.next().expect("a label's value ends") {
                    (i, '"') => break i,
                    (_, '\\') => match chars.next().unwrap().1 {
                        'n' => value.push('\n'),
                        c @ ('\\' | '"') => value.push(c),
                        c => panic!("`\\{c}` in {line}"),
                    },
                    (_, c) => value.push(c),
                }
            };
            labels.push((label.to_owned(), value));
            rest = &after[closed + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = rest.strip_prefix('}').expect("labels end");
                    break;
                }
            }
        }
    }
    let value = rest.strip_prefix(' ').expect("a space before the value");
    (name.to_owned(), labels, value.parse().unwrap())
}

fn labels(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_counted_and_nothing_breaks_the_format() {
    let double = Double::default();
    double.document(project("flask"), "text/html", "x".repeat(5000));
    double.counted().decided(Ecosystem::Pypi, Verdict::Admit, None);
    double.counted().decided(Ecosystem::Npm, Verdict::Refuse, Some(ReasonCode::KnownMalicious));
    double.counted().upstream_bytes(4711);
    let odd = "a \"feed\" \\ of\nlines";
    double.feed(odd, Some(90));
    double.feed("undated", None);
    let (_server, address) = start(&double, ServerOptions::default()).await;
    for _ in 0..3 {
        get(address, "/pypi/simple/flask/", &[]).await;
    }
    get(address, "/npm/none", &[]).await;
    get(address, "/nowhere", &[]).await;
    let r = get(address, "/metrics", &[]).await;
    assert_eq!(r.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (samples, kinds) = parse(&r.text());
    let of = |name: &str, list: &[(&str, &str)]| {
        let key = (format!("countersign_{name}"), labels(list));
        *samples.get(&key).unwrap_or_else(|| panic!("{key:?} in {}", r.text()))
    };
    let requests = |e, c| of("requests_total", &[("ecosystem", e), ("class", c)]);
    assert_eq!(requests("pypi", "2xx"), 3.0);
    assert_eq!(requests("npm", "4xx"), 1.0);
    assert_eq!(requests("none", "4xx"), 1.0);
    assert_eq!(requests("cargo", "cancelled"), 0.0);
    assert_eq!(of("request_duration_seconds_count", &[]), 5.0);
    assert_eq!(of("request_duration_seconds_bucket", &[("le", "+Inf")]), 5.0);
    let admitted = [("ecosystem", "pypi"), ("verdict", "admit"), ("reason", "")];
    assert_eq!(of("decisions_total", &admitted), 1.0);
    let refused = [("ecosystem", "npm"), ("verdict", "refuse"), ("reason", "known-malicious")];
    assert_eq!(of("decisions_total", &refused), 1.0);
    assert_eq!(of("memory_lookups_total", &[("result", "hit")]), 2.0);
    assert!(of("memory_bytes", &[("kind", "answers")]) > 5000.0);
    assert_eq!(of("feed_age_seconds", &[("feed", odd)]), 90.0);
    assert_eq!(of("ledger_entries", &[]), 7.0);
    assert_eq!(of("upstream_bytes_total", &[]), 4711.0);
    assert_eq!(of("connections", &[]), 1.0);
    assert!(of("process_resident_bytes", &[]) > 1e6 && of("process_open_fds", &[]) > 3.0);
    assert!(of("sent_bytes_total", &[]) > 15_000.0);
    histograms_grow(&samples, &kinds);
}

/// Buckets only grow with their bounds, and the last is the count.
fn histograms_grow(samples: &Samples, kinds: &BTreeMap<String, String>) {
    for name in kinds.iter().filter(|(_, k)| *k == "histogram").map(|(n, _)| n) {
        let mut buckets: Vec<(f64, f64)> = samples
            .iter()
            .filter(|((n, _), _)| *n == format!("{name}_bucket"))
            .map(|((_, l), v)| (l[0].1.parse().unwrap(), *v))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.len() > 5 && buckets.windows(2).all(|w| w[0].1 <= w[1].1), "{name}");
        let count = samples[&(format!("{name}_count"), Vec::new())];
        assert_eq!(buckets.last().unwrap(), &(f64::INFINITY, count), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_read_has_no_number() {
    let double = Double::default();
    double.break_ledger("disk I/O error");
    let (_server, address) = start(&double, ServerOptions::default()).await;
    let (samples, kinds) = parse(&get(address, "/metrics", &[]).await.text());
    assert!(kinds.contains_key("countersign_ledger_entries"));
    assert!(!samples.keys().any(|(n, _)| n == "countersign_ledger_entries"));
}
