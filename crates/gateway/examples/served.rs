//! A server whose answers are made up, for measuring the server alone: a document of 10 KB
//! (`/pypi/simple/small/`), one of 750 KB (`/npm/large`), artifacts of 1 MiB and 16 MiB
//! (`/pypi/files/sample/1.whl`, `2.whl`). The same bytes are written into the folder that the first
//! argument names, for a file server beside it. `--tls`, `--log` turn on what they say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../tests/support/mod.rs"]
mod support;

use countersign_gateway::server::{Server, ServerOptions, TlsFiles};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use support::{Double, file, package, project};

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().expect("name a folder for the bytes"));
    let flags: Vec<String> = args.collect();
    std::fs::create_dir_all(&folder).unwrap();
    if flags.iter().any(|f| f == "--log") {
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    }
    let small = index(10_000);
    let large = packument(750_000);
    let minted = support::minted::minted(&[(1 << 20) - 500, 16 << 20]).await;
    let double = Double::default();
    double.document(project("small"), "text/html", small.clone());
    double.document(package("large"), "application/json", large.clone());
    std::fs::write(folder.join("small"), small).unwrap();
    std::fs::write(folder.join("large"), large).unwrap();
    for (i, (admitted, bytes)) in minted.artifacts.iter().enumerate() {
        let name = format!("{}.whl", i + 1);
        double.artifact(file("sample", &name), admitted.clone());
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let tls = flags.iter().any(|f| f == "--tls").then(|| certificate(&folder));
    let options = ServerOptions {
        listen: vec!["127.0.0.1:8099".parse().unwrap()],
        tls,
        ..ServerOptions::default()
    };
    let server = Server::start(double, options).await.unwrap();
    println!("{}", server.addresses()[0]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
}

fn index(bytes: usize) -> String {
    let mut out = String::from("<!DOCTYPE html><html><body>\n");
    let mut n = 0;
    while out.len() < bytes {
        let _ = writeln!(
            out,
            "<a href=\"../../files/small/small-{n}.0.tar.gz\">small-{n}.0.tar.gz</a><br>"
        );
        n += 1;
    }
    out
}

fn packument(bytes: usize) -> String {
    let mut out = String::from("{\"name\":\"large\",\"versions\":{");
    let mut n = 0;
    while out.len() < bytes {
        let _ = write!(
            out,
            "\"{n}.0.0\":{{\"name\":\"large\",\"version\":\"{n}.0.0\",\"dist\":{{\"tarball\":\"https://registry.example/large/-/large-{n}.0.0.tgz\"}}}},"
        );
        n += 1;
    }
    out.push_str("\"end\":{}}}");
    out
}

fn certificate(folder: &std::path::Path) -> TlsFiles {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    TlsFiles { certificate, key, look_every: Duration::from_secs(5) }
}
