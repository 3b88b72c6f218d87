//! A Debian repository on an upstream, signed with a key of the test's own.

use super::archives::{deb, sha256, tar_gz};
use super::pgp::Key;
use super::server::{Reply, Upstream};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::sync::Mutex;

/// A repository with one suite (`stable`), one component, packages for all architectures, and their
/// sources. Every change is published with a date of its own.
pub struct Debian<'u> {
    pub upstream: &'u Upstream,
    pub key: Key,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    packages: String,
    sources: String,
    /// Seconds from now at which a Release ends.
    valid_for: Option<i64>,
    /// The date of the newest Release.
    newest: i64,
}

const DISTS: &str = "/debian/dists/stable";

fn gz(text: &str) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(text.as_bytes()).unwrap();
    out.finish().unwrap()
}

fn rfc2822(second: i64) -> String {
    let time = jiff::Timestamp::from_second(second).unwrap();
    time.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string()
}

impl<'u> Debian<'u> {
    pub fn new(upstream: &'u Upstream) -> Self {
        let key = Key::new("Test Archive <archive@example.org>");
        let d = Self { upstream, key, state: Mutex::default() };
        d.publish();
        d
    }

    /// The repository's address.
    pub fn url(&self) -> String {
        self.upstream.url("/debian")
    }

    /// The path of a deb on the upstream.
    pub fn deb_path(name: &str, version: &str) -> String {
        format!("/debian/{}", Self::pool(&format!("{name}_{version}_all.deb")))
    }

    /// A file's path below the repository's root.
    pub fn pool(file: &str) -> String {
        let first = file.chars().next().unwrap();
        let name = file.split('_').next().unwrap();
        format!("pool/main/{first}/{name}/{file}")
    }

    /// Adds a package and publishes the suite again.
    pub fn add(&self, name: &str, version: &str) -> &Self {
        self.add_bytes(name, version, deb(name, version))
    }

    /// Adds a package with these bytes, which the signed lists name as they are.
    pub fn add_bytes(&self, name: &str, version: &str, bytes: Vec<u8>) -> &Self {
        let paragraph = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\n\
             Filename: {}\nSize: {}\nSHA256: {}\nDescription: a synthetic package\n\n",
            Self::pool(&format!("{name}_{version}_all.deb")),
            bytes.len(),
            sha256(&bytes)
        );
        self.upstream.put(&Self::deb_path(name, version), Reply::file(bytes));
        self.state.lock().unwrap().packages.push_str(&paragraph);
        self.publish();
        self
    }

    /// Adds a source package of a description and two archives, and publishes the suite again.
    pub fn add_source(&self, name: &str, version: &str) -> &Self {
        let upstream_version = version.split('-').next().unwrap();
        let archive = |text: &str| {
            tar_gz(&[(format!("{name}-{upstream_version}/{text}"), text.as_bytes().to_vec())])
        };
        let files = [
            (format!("{name}_{upstream_version}.orig.tar.gz"), archive("configure")),
            (format!("{name}_{version}.debian.tar.gz"), archive("rules")),
        ];
        let lines = |files: &[(String, Vec<u8>)]| -> String {
            files.iter().map(|(n, b)| format!(" {} {} {n}\n", sha256(b), b.len())).collect()
        };
        let dsc = format!(
            "Format: 3.0 (quilt)\nSource: {name}\nBinary: {name}\nArchitecture: all\nVersion: {version}\n\
             Maintainer: Test <test@example.org>\nChecksums-Sha256:\n{}",
            lines(&files)
        );
        let dsc = self.key.clearsign(&dsc);
        let all = [&[(format!("{name}_{version}.dsc"), dsc)][..], &files].concat();
        let folder = Self::pool(&format!("{name}_"));
        let paragraph = format!(
            "Package: {name}\nBinary: {name}\nVersion: {version}\nMaintainer: Test <test@example.org>\n\
             Architecture: all\nFormat: 3.0 (quilt)\nChecksums-Sha256:\n{}Directory: {}\n\n",
            lines(&all),
            folder.rsplit_once('/').unwrap().0
        );
        for (file, bytes) in all {
            self.upstream.put(&format!("/debian/{}", Self::pool(&file)), Reply::file(bytes));
        }
        self.state.lock().unwrap().sources.push_str(&paragraph);
        self.publish();
        self
    }

    /// Every path at which the upstream serves the list of packages.
    pub fn list_paths(&self) -> Vec<String> {
        let text = self.state.lock().unwrap().packages.clone();
        let folder = format!("{DISTS}/main/binary-amd64");
        let all = [("Packages", text.clone().into_bytes()), ("Packages.gz", gz(&text))];
        let paths = |(name, bytes): &(&str, Vec<u8>)| {
            [format!("{folder}/{name}"), format!("{folder}/by-hash/SHA256/{}", sha256(bytes))]
        };
        all.iter().flat_map(paths).collect()
    }

    /// From now on a Release ends that many seconds after it is published.
    pub fn valid_for(&self, seconds: i64) -> &Self {
        self.state.lock().unwrap().valid_for = Some(seconds);
        self.publish();
        self
    }

    /// Publishes the suite, newer than before.
    pub fn publish(&self) {
        let date = {
            let mut state = self.state.lock().unwrap();
            let now = jiff::Timestamp::now().as_second();
            // Dates that lie back, so that each publication of a second has its own.
            state.newest = (state.newest + 1).max(now - 3600);
            state.newest
        };
        self.publish_as(date, &self.key, "stable");
    }

    /// Publishes the suite as it is now with the date of an hour before the newest.
    pub fn publish_older(&self) {
        let date = self.state.lock().unwrap().newest - 3600;
        self.publish_as(date, &self.key, "stable");
    }

    /// The newest Release, signed by another key.
    pub fn publish_by(&self, key: &Key) {
        let date = self.state.lock().unwrap().newest + 60;
        self.publish_as(date, key, "stable");
    }

    /// The newest Release, saying that it is of another suite.
    pub fn publish_of(&self, suite: &str) {
        let date = self.state.lock().unwrap().newest + 60;
        self.publish_as(date, &self.key, suite);
    }

    fn publish_as(&self, date: i64, key: &Key, suite: &str) {
        let (packages, sources, valid_for) = {
            let state = self.state.lock().unwrap();
            (state.packages.clone(), state.sources.clone(), state.valid_for)
        };
        let indexes = [
            ("main/binary-amd64/Packages", packages.clone().into_bytes()),
            ("main/binary-amd64/Packages.gz", gz(&packages)),
            ("main/source/Sources", sources.clone().into_bytes()),
            ("main/source/Sources.gz", gz(&sources)),
            ("main/i18n/Translation-en", b"Package: hello\n".to_vec()),
            ("main/binary-amd64/Packages.diff/Index", b"SHA256-Current: 00 0\n".to_vec()),
        ];
        let lines: String = indexes
            .iter()
            .map(|(name, bytes)| format!(" {} {} {name}\n", sha256(bytes), bytes.len()))
            .collect();
        let now = jiff::Timestamp::now().as_second();
        let ends =
            valid_for.map_or_else(String::new, |s| format!("Valid-Until: {}\n", rfc2822(now + s)));
        let release = format!(
            "Origin: Test\nLabel: Test\nSuite: {suite}\nCodename: {suite}-name\nDate: {}\n{ends}Acquire-By-Hash: yes\n\
             Architectures: amd64 all\nComponents: main\nSHA256:\n{lines}",
            rfc2822(date)
        );
        let text = |t: Vec<u8>| Reply::ok("text/plain", t);
        for (name, bytes) in indexes {
            let folder = name.rsplit_once('/').unwrap().0;
            let by_hash = format!("{DISTS}/{folder}/by-hash/SHA256/{}", sha256(&bytes));
            self.upstream.put(&by_hash, Reply::file(bytes.clone()));
            self.upstream.put(&format!("{DISTS}/{name}"), Reply::file(bytes));
        }
        self.upstream.put(&format!("{DISTS}/InRelease"), text(key.clearsign(&release)));
        self.upstream.put(&format!("{DISTS}/Release.gpg"), text(key.sign(&release)));
        self.upstream.put(&format!("{DISTS}/Release"), text(release.into_bytes()));
    }
}
