//! Registries of each ecosystem on an upstream: the documents that lead to synthetic packages.

use super::archives::{
    cargo_crate, integrity, sdist, sdist_name, sha256, tool_wheel, wheel, wheel_name,
};
use super::server::{Body, Reply, Seen, Upstream};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// An RFC 3339 time that many hours ago.
pub fn hours_ago(hours: i64) -> String {
    let then = jiff::Timestamp::now().as_second() - hours * 3600;
    jiff::Timestamp::from_second(then).unwrap().to_string()
}

/// Old enough for any cool-down.
pub const OLD: i64 = 24 * 90;

const SIMPLE_JSON: &str = "application/vnd.pypi.simple.v1+json";

/// One file of a PyPI project.
#[derive(Clone)]
pub struct PyFile {
    pub name: String,
    pub body: Body,
    /// The digest that the index gives; empty for none.
    pub sha256: String,
    /// Hours since its upload; `None`: the index does not say.
    pub age: Option<i64>,
    /// The size that the index gives, if it gives one.
    pub size: Option<u64>,
}

impl PyFile {
    /// A file that is what its index says.
    pub fn new(name: &str, bytes: Vec<u8>, age: i64) -> Self {
        let (sha256, size) = (sha256(&bytes), Some(bytes.len() as u64));
        Self {
            name: name.to_owned(),
            body: Body::Bytes(bytes.into()),
            sha256,
            age: Some(age),
            size,
        }
    }
}

/// A simple index (PEP 503, PEP 691), answered in the form that the client asks for.
#[derive(Clone)]
pub struct Pypi<'u> {
    upstream: &'u Upstream,
    base: String,
    projects: Arc<Mutex<BTreeMap<String, Vec<PyFile>>>>,
    html_only: bool,
}

impl<'u> Pypi<'u> {
    /// An index at `/simple`.
    pub fn new(upstream: &'u Upstream) -> Self {
        Self::at(upstream, "")
    }

    /// An index at `<base>/simple`.
    pub fn at(upstream: &'u Upstream, base: &str) -> Self {
        Self { upstream, base: base.to_owned(), projects: Arc::default(), html_only: false }
    }

    /// An index that knows no JSON, and so gives no sizes.
    pub fn html_only(mut self) -> Self {
        self.html_only = true;
        self
    }

    /// The index's address.
    pub fn url(&self) -> String {
        self.upstream.url(&format!("{}/simple/", self.base))
    }

    /// The address with a login in it.
    pub fn url_with(&self, login: &str) -> String {
        self.url().replace("http://", &format!("http://{login}@"))
    }

    /// The path at which a file is served.
    pub fn file_path(&self, file: &str) -> String {
        format!("{}/files/{file}", self.base)
    }

    /// The path of a project's page.
    pub fn page_path(&self, project: &str) -> String {
        format!("{}/simple/{project}/", self.base)
    }

    /// Adds a file to a project.
    pub fn add(&self, project: &str, file: PyFile) -> &Self {
        let reply = Reply { body: file.body.clone(), ..Reply::file(Vec::new()) };
        self.upstream.put(&self.file_path(&file.name), reply);
        self.projects.lock().unwrap().entry(project.to_owned()).or_default().push(file);
        let (projects, name, base) = (self.projects.clone(), project.to_owned(), self.base.clone());
        let html_only = self.html_only;
        self.upstream.put_fn(&self.page_path(project), move |seen: &Seen| {
            let files = projects.lock().unwrap()[&name].clone();
            if !html_only && seen.header("accept").is_some_and(|a| a.contains("json")) {
                Reply::ok(SIMPLE_JSON, json_page(&name, &base, &files))
            } else {
                Reply::ok("text/html", html_page(&base, &files))
            }
        });
        self
    }

    /// Adds a wheel that is nothing special.
    pub fn wheel(&self, project: &str, version: &str, age: i64) -> &Self {
        self.add(project, PyFile::new(&wheel_name(project, version), wheel(project, version), age))
    }

    /// Adds a wheel with a program of its own name.
    pub fn tool(&self, project: &str, version: &str, requires: &[&str]) -> &Self {
        let bytes = tool_wheel(project, version, requires);
        self.add(project, PyFile::new(&wheel_name(project, version), bytes, OLD))
    }

    /// Serves other bytes of a wheel than the index says.
    pub fn tamper(&self, project: &str, version: &str) {
        self.upstream.break_with(&self.file_path(&wheel_name(project, version)), |reply| {
            let Body::Bytes(bytes) = &reply.body else { return reply };
            let mut other = bytes.to_vec();
            let at = other.windows(8).position(|w| w == b"Metadata").unwrap();
            other[at] = b'm';
            Reply::file(other)
        });
    }

    /// Adds a source distribution that runs `payload` while it is built.
    pub fn sdist(&self, project: &str, version: &str, payload: &str) -> &Self {
        self.add(
            project,
            PyFile::new(&sdist_name(project, version), sdist(project, version, payload), OLD),
        )
    }

    /// Replaces a file's bytes, and what the index says of them when `listed`.
    pub fn replace(&self, project: &str, file: &str, bytes: Vec<u8>, listed: bool) {
        let mut projects = self.projects.lock().unwrap();
        let files = projects.get_mut(project).unwrap();
        let entry = files.iter_mut().find(|f| f.name == file).unwrap();
        if listed {
            (entry.sha256, entry.size) = (sha256(&bytes), Some(bytes.len() as u64));
        }
        self.upstream.put(&self.file_path(file), Reply::file(bytes));
    }
}

fn json_page(name: &str, base: &str, files: &[PyFile]) -> String {
    let files: Vec<Value> = files
        .iter()
        .map(|f| {
            let hashes = if f.sha256.is_empty() { json!({}) } else { json!({"sha256": f.sha256}) };
            let mut file = json!({"filename": f.name, "url": format!("{base}/files/{}", f.name), "hashes": hashes});
            if let Some(size) = f.size {
                file["size"] = size.into();
            }
            if let Some(age) = f.age {
                file["upload-time"] = hours_ago(age).into();
            }
            file
        })
        .collect();
    json!({"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": files})
        .to_string()
}

fn html_page(base: &str, files: &[PyFile]) -> String {
    let mut out = "<!DOCTYPE html><html><head><title>links</title></head><body>\n".to_owned();
    for f in files {
        let fragment =
            if f.sha256.is_empty() { String::new() } else { format!("#sha256={}", f.sha256) };
        let time =
            f.age.map_or_else(String::new, |a| format!(" data-upload-time=\"{}\"", hours_ago(a)));
        out.push_str(&format!(
            "<a href=\"{base}/files/{0}{fragment}\"{time}>{0}</a><br>\n",
            f.name
        ));
    }
    out + "</body></html>\n"
}

/// One version of an npm package.
#[derive(Clone)]
pub struct NpmVersion {
    pub version: String,
    pub tarball: Vec<u8>,
    /// The integrity that the document gives.
    pub integrity: String,
    pub age: i64,
    /// More members of the version's object.
    pub more: Value,
}

/// An npm registry at the upstream's root.
pub struct Npm<'u> {
    upstream: &'u Upstream,
    packages: Arc<Mutex<BTreeMap<String, Vec<NpmVersion>>>>,
}

impl<'u> Npm<'u> {
    pub fn new(upstream: &'u Upstream) -> Self {
        Self { upstream, packages: Arc::default() }
    }

    /// The registry's address.
    pub fn url(&self) -> String {
        self.upstream.url("/")
    }

    /// The path of a version's tarball.
    pub fn tarball_path(name: &str, version: &str) -> String {
        format!("/{name}/-/{}-{version}.tgz", name.rsplit('/').next().unwrap_or(name))
    }

    /// The address of a version's tarball.
    pub fn tarball_url(&self, name: &str, version: &str) -> String {
        self.upstream.url(&Self::tarball_path(name, version))
    }

    /// Adds a version whose package.json and document agree.
    pub fn add(
        &self,
        name: &str,
        version: &str,
        age: i64,
        more: Value,
        files: &[(&str, &[u8])],
    ) -> &Self {
        let tarball = super::archives::npm_tarball(name, version, more.clone(), files);
        let integrity = integrity(&tarball);
        self.add_version(
            name,
            NpmVersion { version: version.to_owned(), tarball, integrity, age, more },
        )
    }

    /// Adds a version as it is given.
    pub fn add_version(&self, name: &str, v: NpmVersion) -> &Self {
        self.upstream.put(&Self::tarball_path(name, &v.version), Reply::file(v.tarball.clone()));
        self.packages.lock().unwrap().entry(name.to_owned()).or_default().push(v);
        let (packages, host, name) = (self.packages.clone(), self.upstream.host(), name.to_owned());
        let path = format!("/{}", name.replace('/', "%2f"));
        self.upstream.put_fn(&path, move |_| {
            let versions = packages.lock().unwrap()[&name].clone();
            Reply::ok("application/json", packument(&host, &name, &versions))
        });
        self
    }

    /// An entry of a lock file (version 3) for a version of this registry.
    pub fn lock_entry(&self, name: &str, version: &str) -> Value {
        let packages = self.packages.lock().unwrap();
        let v = packages[name].iter().find(|v| v.version == version).unwrap();
        json!({"version": version, "resolved": self.tarball_url(name, version), "integrity": v.integrity})
    }
}

fn packument(host: &str, name: &str, all: &[NpmVersion]) -> String {
    let (mut versions, mut time) = (Map::new(), Map::new());
    for v in all {
        let tarball = format!("http://{host}{}", Npm::tarball_path(name, &v.version));
        let mut object = json!({
            "name": name, "version": v.version, "main": "index.js",
            "dist": {"tarball": tarball, "integrity": v.integrity},
        });
        if let (Some(map), Some(more)) = (object.as_object_mut(), v.more.as_object()) {
            map.extend(more.clone());
        }
        versions.insert(v.version.clone(), object);
        time.insert(v.version.clone(), hours_ago(v.age).into());
    }
    let latest = all.last().map(|v| v.version.clone());
    json!({"name": name, "dist-tags": {"latest": latest}, "versions": versions, "time": time})
        .to_string()
}

/// A sparse cargo registry at `/index/`.
pub struct Cargo<'u> {
    upstream: &'u Upstream,
    lines: Mutex<BTreeMap<String, Vec<String>>>,
}

impl<'u> Cargo<'u> {
    pub fn new(upstream: &'u Upstream) -> Self {
        let config = json!({"dl": upstream.url("/crates/{crate}/{version}/download"), "api": upstream.url("/api")});
        upstream.put("/index/config.json", Reply::ok("application/json", config.to_string()));
        Self { upstream, lines: Mutex::default() }
    }

    /// The registry's address, as cargo's configuration names it.
    pub fn url(&self) -> String {
        format!("sparse+{}", self.upstream.url("/index/"))
    }

    /// The path of a crate's file.
    pub fn crate_path(name: &str, version: &str) -> String {
        format!("/crates/{name}/{version}/download")
    }

    /// Adds a crate that is what its index says.
    pub fn add(&self, name: &str, version: &str, age: i64) -> &Self {
        self.add_bytes(name, version, age, cargo_crate(name, version, &[]))
    }

    /// Adds a crate with these bytes.
    pub fn add_bytes(&self, name: &str, version: &str, age: i64, bytes: Vec<u8>) -> &Self {
        let line = json!({
            "name": name, "vers": version, "deps": [], "cksum": sha256(&bytes), "features": {},
            "yanked": false, "pubtime": hours_ago(age),
        });
        self.upstream.put(&Self::crate_path(name, version), Reply::file(bytes));
        let mut lines = self.lines.lock().unwrap();
        let all = lines.entry(name.to_owned()).or_default();
        all.push(line.to_string());
        let path = match name.len() {
            1 => format!("/index/1/{name}"),
            2 => format!("/index/2/{name}"),
            3 => format!("/index/3/{}/{name}", &name[..1]),
            _ => format!("/index/{}/{}/{name}", &name[..2], &name[2..4]),
        };
        self.upstream.put(&path, Reply::ok("text/plain", all.join("\n") + "\n"));
        self
    }
}

/// An OSV record about one version, or all versions, of a package.
pub fn advisory(id: &str, ecosystem: &str, name: &str, versions: &[&str], severity: &str) -> Value {
    let mut affected =
        json!({"package": {"ecosystem": ecosystem, "name": name}, "versions": versions});
    if versions.is_empty() {
        let kind = if ecosystem == "PyPI" { "ECOSYSTEM" } else { "SEMVER" };
        affected["ranges"] = json!([{"type": kind, "events": [{"introduced": "0"}]}]);
    }
    json!({
        "id": id, "schema_version": "1.6.0", "modified": hours_ago(48), "published": hours_ago(480),
        "summary": format!("{name} is not what it should be"), "affected": [affected],
        "database_specific": {"severity": severity},
    })
}
