//! Servers at full load: `wrk` against the gate, and against nginx with the very same bytes.

use super::gate::Gate;
use super::http;
use super::process::{Job, Server};
use super::results::{Figure, Load};
use super::scratch::Scratch;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What is asked for, and about how long it is, in bytes.
const BODIES: [(&str, usize); 3] =
    [("index document", 10_000), ("packument", 750_000), ("artifact", 1 << 20)];

const PYPI_JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A body that the gate serves.
struct Subject {
    what: &'static str,
    path: String,
    accept: &'static str,
    body: Vec<u8>,
}

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effort {
    /// Seconds of each load.
    pub(super) seconds: u32,
    /// Turns; of each body every server has one a turn.
    pub(super) turns: usize,
}

/// Measures the gate beside nginx.
///
/// # Errors
///
/// When the gate, nginx or wrk cannot be used.
pub(super) fn measure(
    gate: &Gate,
    sets: &Sets<'_>,
    states: &Scratch,
    effort: Effort,
    say: &dyn Fn(&str),
) -> Result<(Vec<Load>, Figure), String> {
    let state = gate.fresh_state(states)?;
    let (server, _, port) = gate.serve(&state, states)?;
    let subjects = subjects(port, sets)?;
    let (_nginx, doors) = nginx(&states.fresh("nginx"), &subjects)?;
    let mut servers = vec![("countersign serve", port)];
    servers.extend(doors);
    let mut loads = Vec::new();
    for (i, subject) in subjects.iter().enumerate() {
        let mut load = Load {
            what: subject.what.to_owned(),
            bytes: subject.body.len(),
            servers: servers.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect(),
        };
        for _ in 0..effort.turns {
            for (at, (name, port)) in servers.iter().enumerate() {
                let path = if at == 0 { subject.path.clone() } else { format!("/{i}") };
                let rate = wrk(*port, &path, subject.accept, effort.seconds)?;
                say(&format!("{}: {name} {rate:.0} requests/s", subject.what));
                if let Some((_, rates)) = load.servers.get_mut(at) {
                    rates.push(rate);
                }
            }
        }
        loads.push(load);
    }
    let (after, peak) = server.memory_kib();
    say(&format!("the gate has {} MiB after the load, {} at most", after >> 10, peak >> 10));
    let figure = Figure {
        name: "load-memory".to_owned(),
        what: "the most memory of the gate under load".to_owned(),
        unit: "MiB".to_owned(),
        values: vec![peak as f64 / 1024.0],
    };
    Ok((loads, figure))
}

/// The names whose documents may be asked for.
pub(super) struct Sets<'a> {
    /// A requirements file.
    pub(super) python: Option<&'a Path>,
    /// A `package-lock.json`.
    pub(super) npm: Option<&'a Path>,
}

fn subjects(port: u16, sets: &Sets<'_>) -> Result<Vec<Subject>, String> {
    let [(index, index_bytes), (packument, packument_bytes), (artifact, artifact_bytes)] = BODIES;
    let python = sets.python.map(python_names).transpose()?.unwrap_or_default();
    let page = |name: &String| format!("/pypi/simple/{name}/");
    let pages = python.iter().filter_map(|(name, _)| subject(port, index, page(name), PYPI_JSON));
    let pages: Vec<Subject> = pages.collect();
    let files = pages.iter().flat_map(|p| files(port, &p.body, &python));
    // Registries need not say how long files are, so each is asked for.
    let files = files.filter_map(|path| subject(port, artifact, path, "*/*"));
    let file = files.min_by_key(|s| s.body.len().abs_diff(artifact_bytes));
    let npm = sets.npm.map(npm_names).transpose()?.unwrap_or_default();
    let documents = npm.iter().map(|n| (format!("/npm/{}", n.replace('/', "%2f")), "*/*"));
    let documents = documents.filter_map(|(p, a)| subject(port, packument, p, a));
    let nearest = |all: Vec<Subject>, bytes: usize| {
        all.into_iter().min_by_key(|s| s.body.len().abs_diff(bytes))
    };
    let found = [nearest(pages, index_bytes), nearest(documents.collect(), packument_bytes), file];
    let found: Vec<Subject> = found.into_iter().flatten().collect();
    if found.is_empty() {
        return Err("the gate serves none of the sets' packages".to_owned());
    }
    Ok(found)
}

/// What the gate answers now, if it is the same twice.
fn subject(port: u16, what: &'static str, path: String, accept: &'static str) -> Option<Subject> {
    let ask = || http::get(port, &path, &[("Accept", accept)]).ok().filter(|r| r.status == 200);
    let body = ask()?.body;
    (ask()?.body == body).then_some(Subject { what, path, accept, body })
}

/// The wheels of a project's page (PEP 691) that a requirement names, as paths of the server: one
/// of each project, since they differ little.
fn files(port: u16, page: &[u8], wanted: &[(String, String)]) -> Option<String> {
    let page: Value = serde_json::from_slice(page).unwrap_or_default();
    let root = format!("http://127.0.0.1:{port}");
    let (_, version) = wanted.iter().find(|(name, _)| page["name"].as_str() == Some(name))?;
    let mut files = page["files"].as_array().into_iter().flatten();
    files.find_map(|f| {
        let name = f["filename"].as_str()?;
        let url = f["url"].as_str()?;
        let path = url.strip_prefix(&root).unwrap_or(url).split('#').next()?;
        let wheel = name.ends_with(".whl") && name.contains(&format!("-{version}-"));
        (wheel && path.starts_with('/')).then(|| path.to_owned())
    })
}

/// Names and exact versions.
fn python_names(file: &Path) -> Result<Vec<(String, String)>, String> {
    let lines = text(file)?;
    let requirement = |line: &str| {
        let (name, version) = line.split_once("==")?;
        let end = version.find(|c: char| c.is_whitespace() || c == ';').unwrap_or(version.len());
        // Normalized (PEP 503), since a redirect is not what is measured.
        let name = name.trim().to_ascii_lowercase().replace(['_', '.'], "-");
        Some((name, version.get(..end)?.to_owned()))
    };
    Ok(lines.lines().filter_map(requirement).collect())
}

fn npm_names(file: &Path) -> Result<Vec<String>, String> {
    let lock: Value = serde_json::from_str(&text(file)?).map_err(|e| e.to_string())?;
    let packages = lock["packages"].as_object().into_iter().flatten();
    let name = |key: &String| Some(key.rsplit_once("node_modules/")?.1.to_owned());
    Ok(packages.filter_map(|(key, _)| name(key)).collect())
}

fn text(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|e| format!("`{}` cannot be read: {e}", file.display()))
}

/// A server's name and port.
type Port = (&'static str, u16);

/// nginx with one worker, and a port without and one with `sendfile`.
fn nginx(folder: &Path, subjects: &[Subject]) -> Result<(Server, [Port; 2]), String> {
    let cannot = |e: std::io::Error| format!("`{}` cannot be made: {e}", folder.display());
    fs::create_dir_all(folder.join("www")).map_err(cannot)?;
    for (i, subject) in subjects.iter().enumerate() {
        fs::write(folder.join("www").join(i.to_string()), &subject.body).map_err(cannot)?;
    }
    let (off, on) = (http::free_port()?, http::free_port()?);
    let at = folder.display();
    let user =
        if fs::metadata("/proc/self").is_ok_and(|m| owner(&m) == 0) { "user root;\n" } else { "" };
    let server = |port: u16, sendfile: &str| {
        format!(
            "server {{ listen 127.0.0.1:{port} backlog=1024; sendfile {sendfile}; root {at}/www; }}\n"
        )
    };
    let config = format!(
        "{user}worker_processes 1;\ndaemon off;\npid {at}/pid;\nerror_log {at}/error.log;\nevents {{ worker_connections 1024; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 1000000000;\ntcp_nodelay on;\n\
         client_body_temp_path {at}/t1;\nproxy_temp_path {at}/t2;\nfastcgi_temp_path {at}/t3;\n\
         uwsgi_temp_path {at}/t4;\nscgi_temp_path {at}/t5;\n{}{}}}\n",
        server(off, "off"),
        server(on, "on")
    );
    fs::write(folder.join("nginx.conf"), config).map_err(cannot)?;
    let mut job = Job::new(["nginx", "-e", "stderr", "-c"], folder);
    job.words.push(folder.join("nginx.conf").into());
    let mut server = Server::start(&job, &folder.join("log"))?;
    server.wait_until(Duration::from_secs(10), || {
        http::get(on, "/0", &[]).is_ok_and(|r| r.status == 200)
    })?;
    Ok((server, [("nginx, sendfile off", off), ("nginx, sendfile on", on)]))
}

fn owner(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.uid()
}

/// Requests a second over 64 connections.
fn wrk(port: u16, path: &str, accept: &str, seconds: u32) -> Result<f64, String> {
    let duration = format!("-d{seconds}s");
    let header = format!("Accept: {accept}");
    let address = format!("http://127.0.0.1:{port}{path}");
    let words = ["wrk", "-t1", "-c64", &duration, "-H", &header, &address];
    read_wrk(&Job::new(words, Path::new("/")).output()?)
}

fn read_wrk(said: &str) -> Result<f64, String> {
    let line = |start: &str| said.lines().find_map(|l| l.trim().strip_prefix(start));
    if let Some(bad) = line("Non-2xx or 3xx responses:").or_else(|| line("Socket errors:")) {
        return Err(format!("under load not all requests were answered: {}", bad.trim()));
    }
    let rate = line("Requests/sec:").and_then(|r| r.trim().parse().ok());
    rate.ok_or_else(|| "wrk does not say how many requests there were".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let fine = "  2 requests in 1s\nRequests/sec:  21873.50\nTransfer/sec: 1GB\n";
        assert_eq!(read_wrk(fine), Ok(21873.5));
        for bad in [
            "  Non-2xx or 3xx responses: 7\nRequests/sec:  1.00\n",
            "  Socket errors: connect 0, read 3, write 0, timeout 0\nRequests/sec:  1.00\n",
            "",
        ] {
            assert!(read_wrk(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn wheels_are_paths_of_the_server() {
        let page = br#"{"name": "a", "files": [
            {"filename": "a-1.whl", "url": "https://files.example/a-1.whl"},
            {"filename": "a-1.0-py3.whl", "url": "https://files.example/a-1.0-py3.whl"},
            {"filename": "a-2.0-py3.whl", "url": "http://127.0.0.1:8/pypi/files/a/2.whl"},
            {"filename": "a-1.0-cp3.whl", "url": "http://127.0.0.1:8/pypi/files/a/1.whl#sha256=0"}]}"#;
        let wanted = [("b".to_owned(), "2.0".to_owned()), ("a".to_owned(), "1.0".to_owned())];
        assert_eq!(files(8, page, &wanted).as_deref(), Some("/pypi/files/a/1.whl"));
        assert_eq!(files(8, page, &wanted[..1]), None);
    }

    #[test]
    fn requirements_are_names_and_versions() {
        let file = std::env::temp_dir().join(format!("bench-names-{}", std::process::id()));
        fs::write(&file, "# x\nA_b.c==1.0 ; python_version > '3'\nd==2\n").unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(python_names(&file).unwrap(), [pair("a-b-c", "1.0"), pair("d", "2")]);
        fs::remove_file(file).unwrap();
    }
}
