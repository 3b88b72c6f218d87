//! Real admitted artifacts: nothing but the engine's pipeline makes them, so one is run, over a tiny
//! Python index on the loopback interface.

use countersign_core::Ecosystem;
use countersign_core::Sha256Digest;
use countersign_engine::config::{Config, Lists};
use countersign_engine::evidence_kinds::sigstore::TrustRoots;
use countersign_engine::policy::PolicySet;
use countersign_engine::serving::{Asker, Form};
use countersign_engine::store::{OpenMode, Store, init_key};
use countersign_engine::{Admitted, Answer, Engine, Serving, Setup, Upstream};
use http::{HeaderMap, Method};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use tempfile::TempDir;

/// An engine with one wheel of each size, in order, and the folder that holds its store.
pub struct Minted {
    pub engine: Engine,
    pub artifacts: Vec<(Arc<Admitted>, Vec<u8>)>,
    pub folder: TempDir,
}

/// Admits wheels of about these sizes.
pub async fn minted(sizes: &[usize]) -> Minted {
    let wheels: Vec<(String, Vec<u8>)> = sizes
        .iter()
        .enumerate()
        .map(|(i, size)| (format!("sample-{}.0-py3-none-any.whl", i + 1), wheel(i + 1, *size)))
        .collect();
    let base = index(wheels.clone());
    let folder = TempDir::new().unwrap();
    init_key(folder.path(), "test.example/ledger").await.unwrap();
    let engine = Engine::open(Setup {
        store: Store::open(folder.path(), OpenMode::Create).await.unwrap(),
        policy: PolicySet::shipped("audit").unwrap(),
        config: Config::default(),
        lists: Lists::default(),
        feeds: None,
        roots: TrustRoots::embedded().unwrap(),
        evidence: Vec::new(),
        extra_roots: Vec::new(),
        upstreams: vec![(Upstream::new(Ecosystem::Pypi, &base).unwrap(), None)],
        pins: Vec::new(),
        locked: HashMap::new(),
        scopes: HashMap::new(),
        installed: Vec::new(),
        client: "test".to_owned(),
        debian: Vec::new(),
        serving: Some(Serving::default()),
    })
    .await
    .unwrap();
    let mut artifacts = Vec::new();
    for (name, bytes) in wheels {
        let route = super::file("sample", &name);
        let (headers, asker) = (HeaderMap::new(), Asker::default());
        let body = bytes::Bytes::new();
        let served = engine.serve(&route, Form::Plain, &Method::GET, &headers, body, &asker).await;
        match served.answer {
            Answer::Artifact(admitted) => artifacts.push((admitted, bytes)),
            Answer::Refused(r) => panic!("{}", r.to_text()),
            _ => panic!("{name} is no artifact"),
        }
    }
    Minted { engine, artifacts, folder }
}

/// A wheel (PEP 427) with one file of that many bytes that do not compress.
fn wheel(version: usize, size: usize) -> Vec<u8> {
    let info = format!("sample-{version}.0.dist-info");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        })
        .collect();
    let metadata = format!("Metadata-Version: 2.1\nName: sample\nVersion: {version}.0\n");
    let files = [
        ("sample/data.bin".to_owned(), noise),
        (format!("{info}/METADATA"), metadata.into_bytes()),
        (format!("{info}/WHEEL"), b"Wheel-Version: 1.0\nTag: py3-none-any\n".to_vec()),
        (format!("{info}/RECORD"), Vec::new()),
    ];
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, bytes) in files {
        writer.start_file(path, options).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Serves a Python index with these files until the test ends; its address.
fn index(files: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let links: String = files
        .iter()
        .map(|(name, bytes)| {
            format!("<a href=\"/files/{name}#sha256={}\">{name}</a>\n", Sha256Digest::of(bytes))
        })
        .collect();
    let page = format!("<!DOCTYPE html><html><body>\n{links}</body></html>\n").into_bytes();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (page, files) = (page.clone(), files.clone());
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
                    let path = line.split(' ').nth(1).unwrap_or("").to_owned();
                    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                        line.clear();
                    }
                    line.clear();
                    let wanted = path.strip_prefix("/files/");
                    let found = files.iter().find(|(name, _)| wanted == Some(name));
                    let (kind, body) = match found {
                        Some((_, bytes)) => ("application/zip", bytes),
                        None => ("text/html", &page),
                    };
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    if stream
                        .write_all(head.as_bytes())
                        .and_then(|()| stream.write_all(body))
                        .is_err()
                    {
                        return;
                    }
                }
            });
        }
    });
    format!("{base}/simple/")
}
