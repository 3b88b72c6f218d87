//! Measures a decision for a digest that is known, in process; or makes a store of many decisions.
//!
//! `cargo run --release -p countersign-engine --example decide -- measure FOLDER [FEEDS]`
//! `cargo run --release -p countersign-engine --example decide -- make STATE NUMBER`
//!
//! `measure` admits files of a registry that lives in this process. A second engine, which remembers
//! nothing, then decides on each of them: their bytes are in the store, and are hashed, judged and
//! compared with what is recorded. It prints milliseconds as one JSON object, `again_…` for what is
//! asked for a second time.

#![allow(clippy::print_stdout, reason = "a measurement is printed")]

mod admissions;

use bytes::Bytes;
use countersign_core::Ecosystem;
use countersign_core::Timestamp;
use countersign_engine::config::Config;
use countersign_engine::feeds::Feeds;
use countersign_engine::serving::{Asker, Form, Route, View};
use countersign_engine::{Answer, Engine, Serving, Setup, Upstream};
use countersign_evidence::sigstore::TrustRoots;
use countersign_policy::PolicySet;
use countersign_store::{OpenMode, Store, init_key};
use http::{HeaderMap, Method};
use sha2::Digest as _;
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How many files are decided on.
const FILES: usize = 1000;
/// The package whose files they are.
const NAME: &str = "known";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.as_slice() {
        ["measure", folder] => runtime.block_on(measure(Path::new(folder), None)),
        ["measure", folder, feeds] => {
            runtime.block_on(measure(Path::new(folder), Some(Path::new(feeds))))
        }
        ["make", state, number] => runtime.block_on(make(Path::new(state), number.parse()?)),
        _ => Err("say `measure FOLDER [FEEDS]` or `make STATE NUMBER`".into()),
    }
}

async fn make(state: &Path, number: u64) -> Result<(), Box<dyn Error>> {
    let store = new_store(state).await?;
    admissions::record(&store, number).await?;
    Ok(())
}

async fn new_store(state: &Path) -> Result<Store, Box<dyn Error>> {
    init_key(state, "gate.example/measured").await?;
    Ok(Store::open(state, OpenMode::Create).await?)
}

async fn measure(folder: &Path, feeds: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let registry = registry().await?;
    let store = new_store(&folder.join("state")).await?;
    let places: Vec<PathBuf> = feeds.map(Path::to_owned).into_iter().collect();
    let feeds = || Feeds::open(&folder.join("indexes"), &places, Timestamp(0));

    let first = engine(&store, &registry, feeds()?).await?;
    for n in 0..FILES {
        ask(&first, n).await?;
    }
    let second = engine(&store, &registry, feeds()?).await?;
    let document = Route::NpmPackage { view: View::All, name: NAME.to_owned(), version: None };
    serve(&second, &document).await;
    let mut anew = Vec::new();
    let mut again = Vec::new();
    for times in [&mut anew, &mut again] {
        for n in 0..FILES {
            let began = Instant::now();
            ask(&second, n).await?;
            times.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        times.sort_by(f64::total_cmp);
    }
    let at = |times: &[f64], part: f64| {
        times.get((times.len() as f64 * part) as usize).copied().unwrap_or(f64::NAN)
    };
    println!(
        "{}",
        serde_json::json!({
            "p50_ms": at(&anew, 0.5), "p99_ms": at(&anew, 0.99),
            "again_p50_ms": at(&again, 0.5), "again_p99_ms": at(&again, 0.99),
        })
    );
    Ok(())
}

async fn serve(engine: &Engine, route: &Route) -> Answer {
    let (method, headers, body) = (Method::GET, HeaderMap::new(), Bytes::new());
    let asker = Asker::default();
    engine.serve(route, Form::default(), &method, &headers, body, &asker).await.answer
}

/// Asks for the `n`th file, which must be admitted.
async fn ask(engine: &Engine, n: usize) -> Result<(), Box<dyn Error>> {
    let route = Route::NpmTarball {
        view: View::All,
        name: NAME.to_owned(),
        file_name: format!("{NAME}-1.0.{n}.tgz"),
    };
    match serve(engine, &route).await {
        Answer::Artifact(_) => Ok(()),
        Answer::Refused(refusal) => {
            let why = refusal.decision.leading().map(|l| l.detail.clone()).unwrap_or_default();
            Err(format!("{} is not admitted: {why}", refusal.artifact).into())
        }
        _ => Err(format!("version 1.0.{n} is no file of the registry").into()),
    }
}

async fn engine(
    store: &Store,
    registry: &str,
    feeds: Option<Feeds>,
) -> Result<Engine, Box<dyn Error>> {
    let (config, lists) = Config::parse("measured", "")?;
    let policy = PolicySet::shipped("baseline").map_err(|_| "the policy cannot be loaded")?;
    let upstream = Upstream::new(Ecosystem::Npm, registry).ok_or("the registry has no address")?;
    let setup = Setup {
        store: store.clone(),
        policy,
        config,
        lists,
        feeds,
        roots: TrustRoots::embedded()?,
        evidence: Vec::new(),
        extra_roots: Vec::new(),
        upstreams: vec![(upstream, None)],
        pins: Vec::new(),
        locked: HashMap::new(),
        scopes: HashMap::new(),
        installed: Vec::new(),
        client: String::new(),
        debian: Vec::new(),
        serving: Some(Serving::default()),
    };
    Ok(Engine::open(setup).await?)
}

/// Starts a registry of one package, and gives its address.
async fn registry() -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = format!("http://{}/", listener.local_addr()?);
    let tarballs: Result<Vec<Vec<u8>>, _> = (0..FILES).map(tarball).collect();
    let tarballs = Arc::new(tarballs?);
    let document = Arc::new(document(&address, &tarballs));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (tarballs, document) = (tarballs.clone(), document.clone());
            tokio::spawn(async move {
                // A client that leaves is no matter of the registry's.
                let _ = answer(stream, &document, &tarballs).await;
            });
        }
    });
    Ok(address)
}

async fn answer(
    mut stream: TcpStream,
    document: &[u8],
    tarballs: &[Vec<u8>],
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await?;
        if n == 0 {
            return Ok(());
        }
        request.extend(piece.iter().take(n));
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let file = path.rsplit_once("-1.0.").and_then(|(_, n)| n.strip_suffix(".tgz")?.parse().ok());
    let body = match file {
        Some(n) => tarballs.get::<usize>(n).map(Vec::as_slice),
        None => Some(document).filter(|_| path.trim_start_matches('/') == NAME),
    };
    let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
    let body = body.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// The package's document, with the digest of each file.
fn document(address: &str, tarballs: &[Vec<u8>]) -> Vec<u8> {
    let mut versions = serde_json::Map::new();
    let mut time = serde_json::Map::new();
    for (n, bytes) in tarballs.iter().enumerate() {
        let version = format!("1.0.{n}");
        let tarball = format!("{address}{NAME}/-/{NAME}-{version}.tgz");
        let mut shasum = String::new();
        for byte in sha1::Sha1::digest(bytes) {
            // Writing into a string does not fail.
            let _ = write!(shasum, "{byte:02x}");
        }
        let dist = serde_json::json!({
            "tarball": tarball, "shasum": shasum, "integrity": integrity(bytes),
        });
        time.insert(version.clone(), "2020-01-01T00:00:00.000Z".into());
        let manifest = serde_json::json!({ "name": NAME, "version": version, "dist": dist });
        versions.insert(version, manifest);
    }
    let latest = format!("1.0.{}", tarballs.len().saturating_sub(1));
    let document = serde_json::json!({
        "name": NAME, "dist-tags": { "latest": latest }, "time": time, "versions": versions,
    });
    document.to_string().into_bytes()
}

/// The digest as npm writes it (Subresource Integrity).
fn integrity(bytes: &[u8]) -> String {
    use base64::Engine as _;
    let digest = sha2::Sha512::digest(bytes);
    format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(digest))
}

/// A package of about ten kilobytes.
fn tarball(n: usize) -> std::io::Result<Vec<u8>> {
    let manifest = serde_json::json!({ "name": NAME, "version": format!("1.0.{n}") }).to_string();
    let mut noise = n as u32;
    let code = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b' ' + (noise >> 25) as u8 % 90
    });
    let code: Vec<u8> = code.take(12_000).collect();
    let level = flate2::Compression::fast();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), level));
    for (path, content) in
        [("package/package.json", manifest.as_bytes()), ("package/index.js", code.as_slice())]
    {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content)?;
    }
    archive.into_inner()?.finish()
}
