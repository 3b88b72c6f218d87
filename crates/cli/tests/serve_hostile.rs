//! `countersign serve` against hostile registries and hostile clients, over real sockets: bombs in
//! bounded memory, requests and names that mean two things.

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

#[path = "support/debian.rs"]
mod debian;
#[path = "support/pgp.rs"]
mod pgp;
mod support;

// What `support/debian.rs` takes from beside it.
use support::{archives, server};

use debian::Debian;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::Sandbox;
use support::archives::{deb_with, wheel_name};
use support::registries::{Cargo, Npm, NpmVersion, OLD, PyFile, Pypi};
use support::server::{Reply, Upstream};
use support::serving::{Serving, get};

const MIB: u64 = 1 << 20;

fn upstream(ecosystem: &str, url: &str) -> String {
    format!("[[upstream]]\necosystem = \"{ecosystem}\"\nname = \"{ecosystem}\"\nurl = \"{url}\"\n")
}

/// The most memory that a process had since it was last forgotten (proc(5)), in bytes.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

fn forget_peak(pid: u32) {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// Many zeros, packed.
fn zeros_gz(mebibytes: usize) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![0u8; 1 << 20];
    for _ in 0..mebibytes {
        out.write_all(&block).unwrap();
    }
    out.finish().unwrap()
}

/// A tar archive of one file of so many zeros, packed.
fn tar_bomb(path: &str, mebibytes: u64) -> Vec<u8> {
    let mut out = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    let mut header = tar::Header::new_gnu();
    header.set_size(mebibytes * MIB);
    header.set_mode(0o644);
    out.append_data(&mut header, path, std::io::repeat(0).take(mebibytes * MIB)).unwrap();
    out.into_inner().unwrap().finish().unwrap()
}

/// A wheel of one file of so many zeros, packed.
fn wheel_bomb(name: &str, mebibytes: u64) -> Vec<u8> {
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(9));
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    out.start_file(format!("{name}/zeros"), options).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(mebibytes * MIB), &mut out).unwrap();
    out.finish().unwrap().into_inner()
}

/// A wheel of very many empty files.
fn wheel_of(count: usize) -> Vec<u8> {
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for n in 0..count {
        out.start_file(format!("m/{n}"), options).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// Documents of a registry that only do harm, each with what it is.
fn bad_documents() -> Vec<(&'static str, Reply)> {
    let json = "application/vnd.pypi.simple.v1+json";
    let page = |bytes: Vec<u8>| Reply::ok(json, bytes);
    let coded = |bytes: Vec<u8>, coding: &str| page(bytes).header("content-encoding", coding);
    let file = format!(
        "{{\"filename\":\"million-1.0.0-py3-none-any.whl\",\"url\":\"/f\",\"hashes\":{{\"sha256\":\"{}\"}}}}",
        "0".repeat(64)
    );
    let million = format!(
        "{{\"meta\":{{\"api-version\":\"1.0\"}},\"name\":\"million\",\"files\":[{}]}}",
        vec![file; 1_000_000].join(",")
    );
    let text = format!(
        "{{\"meta\":{{\"api-version\":\"1.0\"}},\"name\":\"text\",\"files\":[],\"x\":\"{}\"}}",
        "x".repeat(100 << 20)
    );
    let deep = format!("{{\"name\":\"deep\",\"files\":{}", "[".repeat(100_000));
    let keys = format!("{{\"name\":\"keys\",\"files\":{}", "{\"a\":".repeat(100_000));
    let bomb = zeros_gz(300);
    vec![
        ("bomb", coded(bomb.clone(), "gzip")),
        ("twice", coded(zeros_gz(1), "gzip, gzip")),
        ("brotli", coded(bomb.clone(), "br")),
        ("zstandard", coded(bomb.clone(), "zstd")),
        ("packed", page(bomb)),
        ("million", page(million.into_bytes())),
        ("text", page(text.into_bytes())),
        ("deep", page(deep.into_bytes())),
        ("keys", page(keys.into_bytes())),
        ("links", Reply::ok("text/html", "<a href=x>x</a>".repeat(400_000))),
        ("nested", Reply::ok("text/html", "<div>".repeat(400_000))),
    ]
}

#[test]
fn documents_that_are_bombs_open_nothing_and_take_bounded_memory() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD);
    let documents = bad_documents();
    for (name, reply) in &documents {
        up.put(&index.page_path(name), reply.clone());
    }
    let mut s = Sandbox::new();
    s.config(&format!("{}[limits]\nindex-bytes = 160000000\n", upstream("pypi", &index.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, "/pypi/simple/good/", None).0, 200);
    for (name, _) in &documents {
        forget_peak(gateway.pid());
        let (status, text) = get(&address, &format!("/pypi/simple/{name}/"), None);
        let peak = peak(gateway.pid()) / MIB;
        let said = text.lines().next().unwrap_or_default();
        eprintln!("{name}: peak {peak} MiB, {said}");
        assert!(!text.contains("-py3-none-any.whl\""), "{name}: {}", &text[..500]);
        // One that says nothing is an empty page, and that is the truth.
        assert!(
            matches!(status, 403 | 502 | 503) || *name == "text" || *name == "nested",
            "{name}: {said}"
        );
        // Three times the limit: what came, what is made of it, and what was freed a moment ago.
        assert!(peak < 480, "{name}: {peak} MiB");
        assert_eq!(get(&address, "/pypi/simple/good/", None).0, 200, "after {name}");
    }
    // Several at once, as different clients would.
    forget_peak(gateway.pid());
    let asked: Vec<_> = ["bomb", "packed", "deep", "links"]
        .iter()
        .map(|name| {
            let (address, path) = (address.clone(), format!("/u/pypi/simple/{name}/"));
            std::thread::spawn(move || get(&address, &path, None).0)
        })
        .collect();
    for asked in asked {
        assert_eq!(asked.join().unwrap(), 403);
    }
    let peak = peak(gateway.pid()) / MIB;
    eprintln!("several at once: peak {peak} MiB");
    assert!(peak < 600, "{peak} MiB");
    gateway.end();
}

#[test]
fn documents_of_the_other_registries_that_are_bombs_take_bounded_memory() {
    let up = Upstream::start();
    let (npm, cargo) = (Npm::new(&up), Cargo::new(&up));
    npm.add("good", "1.0.0", OLD, json!({}), &[("lib.js", b"1")]);
    cargo.add("good", "1.0.0", OLD);
    let json = |text: String| Reply::ok("application/json", text);
    let around = |name: &str, versions: &str| {
        format!("{{\"name\":\"{name}\",\"dist-tags\":{{}},\"versions\":{{{versions}}}}}")
    };
    let versions: Vec<String> = (0..250_000).map(|n| format!("\"1.0.{n}\":{{}}")).collect();
    let values = format!("\"1.0.0\":{{\"x\":[{}0]}}", "0,".repeat(4_500_000));
    let members: Vec<String> = (0..1_500_000).map(|n| format!("\"{n}\":0")).collect();
    let members = format!("\"1.0.0\":{{{}}}", members.join(","));
    let nested = format!("\"1.0.0\":{}", "{\"a\":".repeat(100_000));
    for (name, text) in [
        ("versions", versions.join(",")),
        ("values", values),
        ("members", members),
        ("nested", nested),
    ] {
        up.put(&format!("/{name}"), json(around(name, &text)));
    }
    let line = "{\"name\":\"lines\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"00\"}\n";
    up.put("/index/li/ne/lines", Reply::ok("text/plain", line.repeat(300_000)));
    let deep = format!("{{\"name\":\"deep\",\"x\":{}", "[".repeat(100_000));
    up.put("/index/de/ep/deep", Reply::ok("text/plain", deep));
    let mut s = Sandbox::new();
    s.config(&format!("{}{}", upstream("npm", &npm.url()), upstream("cargo", &cargo.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    assert_eq!(get(&address, "/npm/good", None).0, 200);
    for path in [
        "/npm/versions",
        "/npm/values",
        "/npm/members",
        "/npm/nested",
        "/cargo/li/ne/lines",
        "/cargo/de/ep/deep",
    ] {
        forget_peak(gateway.pid());
        let (status, text) = get(&address, path, None);
        let peak = peak(gateway.pid()) / MIB;
        let said: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
        eprintln!("{path}: peak {peak} MiB, {said}");
        let nothing = status == 200 && !text.contains("1.0.0");
        assert!(nothing || matches!(status, 403 | 404 | 503), "{path}: {said}");
        assert!(peak < 800, "{path}: {peak} MiB");
        assert_eq!(get(&address, "/cargo/go/od/good", None).0, 200, "after {path}");
    }
    gateway.end();
}

#[test]
fn archives_that_are_bombs_are_refused_in_bounded_memory() {
    let up = Upstream::start();
    let (index, npm, cargo) = (Pypi::new(&up), Npm::new(&up), Cargo::new(&up));
    let debian = Debian::new(&up);
    let add = |name: &str, bytes| {
        index.add(name, PyFile::new(&wheel_name(name, "1.0.0"), bytes, OLD));
    };
    add("bomb", wheel_bomb("bomb", 300));
    add("many", wheel_of(250_000));
    add("cut", wheel_of(10)[..400].to_vec());
    let tarball = tar_bomb("package/zeros", 300);
    let version = NpmVersion {
        version: "1.0.0".into(),
        integrity: archives::integrity(&tarball),
        tarball,
        age: OLD,
        more: json!({}),
    };
    npm.add_version("bomb", version);
    cargo.add_bytes("bomb", "1.0.0", OLD, tar_bomb("bomb-1.0.0/zeros", 300));
    debian.add_bytes("bomb", "1.0.0", deb_with("bomb", "1.0.0", &tar_bomb("./zeros", 300)));
    debian.add("good", "1.0.0");
    let mut s = Sandbox::new();
    let keyring = s.at("key.asc");
    std::fs::write(&keyring, debian.key.certificate()).unwrap();
    s.config(&format!(
        "{}{}{}{}keyring = \"{}\"\n",
        upstream("pypi", &index.url()),
        upstream("npm", &npm.url()),
        upstream("cargo", &cargo.url()),
        upstream("debian", &debian.url()),
        keyring.display()
    ));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let pool =
        |name: &str| format!("/debian/debian/{}", Debian::pool(&format!("{name}_1.0.0_all.deb")));
    assert_eq!(get(&address, "/debian/debian/dists/stable/InRelease", None).0, 200);
    assert_eq!(get(&address, &pool("good"), None).0, 200);
    let file = |name: &str| format!("/pypi/files/{name}/{}", wheel_name(name, "1.0.0"));
    let paths = [
        file("bomb"),
        file("many"),
        file("cut"),
        "/npm/bomb/-/bomb-1.0.0.tgz".to_owned(),
        "/cargo/dl/bomb/1.0.0/download".to_owned(),
        pool("bomb"),
    ];
    for path in &paths {
        forget_peak(gateway.pid());
        let (status, text) = get(&address, path, None);
        let peak = peak(gateway.pid()) / MIB;
        eprintln!("{path}: peak {peak} MiB, {}", text.lines().next().unwrap_or_default());
        assert_eq!(status, 403, "{path}: {text}");
        assert!(peak < 150, "{path}: {peak} MiB");
    }
    gateway.end();
    assert!(s.decisions().iter().all(|(p, v, _)| v != "admit" || p.contains("good")));
    s.fsck();
}

/// Sends bytes as they are, and gives all that comes until the connection ends.
fn exchange(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    stream.write_all(bytes).unwrap();
    // What keeps the connection open has said what there was to say.
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out);
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn requests_that_mean_two_things_reach_no_upstream() {
    let up = Upstream::start();
    let index = Pypi::new(&up);
    index.wheel("good", "1.0.0", OLD).wheel("smuggled", "1.0.0", OLD);
    let mut s = Sandbox::new();
    s.config(&upstream("pypi", &index.url()));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let page = "GET /pypi/simple/good/ HTTP/1.1\r\nHost: HOST\r\n";
    let post = "POST /npm/-/npm/v1/security/advisories/bulk HTTP/1.1\r\nHost: HOST\r\n";
    let inner = "GET /pypi/simple/smuggled/ HTTP/1.1\r\nHost: HOST\r\n\r\n";
    let requests = [
        format!("{post}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{inner}"),
        format!("{page}Content-Length: 0\r\nContent-Length: 40\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n0;\n\r\n\r\n{inner}"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{inner}"),
        format!("{page}X: y\r\n Transfer-Encoding: chunked\r\n\r\n{inner}"),
        format!("{page}Content-Length: {}\n\n{inner}", inner.len()),
        format!("{page}Content-Length : 0\r\n\r\n{inner}"),
        format!("{page}X: \0\r\n\r\n{inner}"),
        "GET http://elsewhere.example/pypi/simple/smuggled/ HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned(),
        "GET http://HOST/pypi/simple/smuggled/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n".to_owned(),
        "GET /pypi/simple/smuggled/ HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n".to_owned(),
        "GET /pypi/simple/smuggled/ HTTP/1.1\r\nHost: HOST\r\nHost: elsewhere.example\r\n\r\n".to_owned(),
        "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\nGET /pypi/simple/smuggled/ HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned(),
    ];
    let asked: Vec<_> = requests
        .into_iter()
        .map(|text| {
            let (text, address) = (text.replace("HOST", &address), address.clone());
            std::thread::spawn(move || (exchange(&address, text.as_bytes()), text))
        })
        .collect();
    for asked in asked {
        let (said, text) = asked.join().unwrap();
        assert!(!said.contains("smuggled-1.0.0"), "{text}\n{said}");
        let status = said.split(' ').nth(1).and_then(|s| s.parse::<u16>().ok());
        assert!(status.is_none_or(|s| (400..500).contains(&s)), "{text}\n{said}");
    }
    assert_eq!(up.count(&index.page_path("smuggled")), 0);
    gateway.end();
}

#[test]
fn names_in_other_letters_are_one_name_or_none() {
    let up = Upstream::start();
    let (index, npm) = (Pypi::new(&up), Npm::new(&up));
    index.wheel("good-lib", "1.0.0", OLD);
    npm.add("@scope/lib", "1.0.0", OLD, json!({}), &[("lib.js", b"1")]);
    npm.add("lib", "2.0.0", OLD, json!({}), &[("lib.js", b"2")]);
    let mut s = Sandbox::new();
    let denied = "deny = [\"pkg:pypi/banned-lib\", \"pkg:npm/%40scope/banned\"]\n";
    index.wheel("banned-lib", "1.0.0", OLD);
    npm.add("@scope/banned", "1.0.0", OLD, json!({}), &[("lib.js", b"3")]);
    s.config(&format!("{denied}{}{}", upstream("pypi", &index.url()), upstream("npm", &npm.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let wheel = wheel_name("good-lib", "1.0.0");
    for name in ["good-lib", "Good_Lib", "good.lib", "GOOD--LIB", "good_.-lib", "go%6fd-lib"] {
        let (status, text) = get(&address, &format!("/pypi/simple/{name}/"), None);
        assert!(status == 200 && text.contains(&wheel), "{name}: {status} {text}");
        assert_eq!(get(&address, &format!("/pypi/files/{name}/{wheel}"), None).0, 200, "{name}");
    }
    assert_eq!(up.count(&index.page_path("good-lib")), 1, "six spellings are one name");
    // What is refused is refused in every spelling.
    for name in ["banned-lib", "Banned_Lib", "banned.lib", "BANNED---LIB"] {
        let path = format!("/pypi/files/{name}/{}", wheel_name("banned-lib", "1.0.0"));
        let (status, text) = get(&address, &path, None);
        assert!(status == 403 && text.contains("denied"), "{name}: {status} {text}");
    }
    for path in ["@scope/lib", "@scope%2flib", "@scope%2Flib", "%40scope%2flib"] {
        let (status, text) = get(&address, &format!("/npm/{path}"), None);
        assert!(status == 200 && text.contains("\"@scope/lib\""), "{path}: {status} {text}");
        let banned = path.replace("lib", "banned/-/banned-1.0.0.tgz");
        let (status, text) = get(&address, &format!("/npm/{banned}"), None);
        assert!(status == 403 && text.contains("denied"), "{banned}: {status} {text}");
    }
    // A file is one of its own package's, whatever its address says.
    for path in [
        "/npm/lib/-/lib-1.0.0.tgz",
        "/npm/@scope/lib/-/lib-2.0.0.tgz",
        "/npm/lib/-/banned-1.0.0.tgz",
        "/pypi/files/good-lib/banned_lib-1.0.0-py3-none-any.whl",
    ] {
        assert_eq!(get(&address, path, None).0, 404, "{path}");
    }
    let before = up.seen().len();
    for path in [
        "/npm/@scope%252flib",
        "/npm/@scope%2f%2e%2e%2flib",
        "/npm/@scope%2flib%2f..",
        "/npm/@sc%D0%BEpe/lib",
        "/npm/%EF%BC%A0scope/lib",
        "/npm/l%C4%B1b",
        "/npm/lib%00",
        "/npm/lib%5c..",
        "/pypi/simple/g%D0%BE%D0%BEd-lib/",
        "/pypi/simple/good%E2%80%90lib/",
        "/pypi/simple/g%C5%8Fod-lib/",
        "/pypi/simple/%EF%BD%87ood-lib/",
        "/pypi/simple/good%E2%80%8B-lib/",
        "/pypi/simple/good-lib%00/",
        "/pypi/simple/..%2fgood-lib/",
        "/pypi/simple/%252e%252e/good-lib/",
        "/pypi/simple\\good-lib\\",
        "/pypi/simple/..\\good-lib/",
        "/pypi/files/good-lib/..%2f..%2fcountersign.toml",
        "/pypi/files/good-lib/%2e%2e/%2e%2e/state/keys/ledger",
        "/debian/debian/../../etc/passwd",
    ] {
        let (status, text) = get(&address, path, None);
        assert!(matches!(status, 400 | 404), "{path}: {status} {text}");
    }
    assert_eq!(up.seen().len(), before, "an upstream was asked");
    gateway.end();
}

#[test]
fn large_documents_keep_nobody_else_waiting() {
    let up = Upstream::start();
    let (index, npm) = (Pypi::new(&up), Npm::new(&up));
    index.wheel("good", "1.0.0", OLD);
    let members: Vec<String> = (0..130_000).map(|n| format!("\"{n}\":0")).collect();
    let members = members.join(",");
    let names: Vec<String> = (0..5).map(|n| format!("large{n}")).collect();
    for name in &names {
        let text = format!("{{\"name\":\"{name}\",\"versions\":{{\"1.0.0\":{{{members}}}}}}}");
        up.put(&format!("/{name}"), Reply::ok("application/json", text));
    }
    let mut s = Sandbox::new();
    s.config(&format!("{}{}", upstream("pypi", &index.url()), upstream("npm", &npm.url())));
    let gateway = Serving::start(&s, &[]);
    let address = gateway.address();
    let file = format!("/pypi/files/good/{}", wheel_name("good", "1.0.0"));
    assert_eq!(get(&address, &file, None).0, 200);
    let large: Vec<_> = names
        .iter()
        .map(|name| {
            let (address, path) = (address.clone(), format!("/npm/{name}"));
            std::thread::spawn(move || get(&address, &path, None).0)
        })
        .collect();
    let mut waits = Vec::new();
    while large.iter().any(|l| !l.is_finished()) {
        let began = Instant::now();
        assert_eq!(get(&address, &file, None).0, 200);
        waits.push(began.elapsed());
        std::thread::sleep(Duration::from_millis(10));
    }
    for large in large {
        assert_eq!(large.join().unwrap(), 200, "{}", gateway.said());
    }
    waits.sort();
    let (most, longest) = (waits[waits.len() * 95 / 100], waits[waits.len() - 1]);
    eprintln!("{} answers beside them, 95 % within {most:?}, all within {longest:?}", waits.len());
    assert!(most < Duration::from_millis(500), "{waits:?}");
    gateway.end();
}
