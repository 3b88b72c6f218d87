//! Where packages come from: asked of the machine's own clients.

use super::process::Job;
use std::fs;
use std::path::Path;

/// The addresses that the clients are configured with; `None` and empty where a client cannot be
/// asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Upstreams {
    /// pip's index.
    pub(super) pypi: Option<String>,
    /// npm's registry.
    pub(super) npm: Option<String>,
    /// cargo's sparse registry, with its `sparse+`.
    pub(super) cargo: Option<String>,
    /// apt's http repositories.
    pub(super) debian: Vec<Repository>,
}

/// A repository of apt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repository {
    /// Its base address, without a slash at the end.
    pub(super) url: String,
    /// The file of keys that its source names.
    pub(super) keyring: Option<String>,
}

/// pip's own parser knows what its files, its environment and its defaults come to.
const ASK_PIP: &str = "from pip._internal.commands import create_command
print(create_command('download').parse_args([])[0].index_url)";

/// pip's index.
///
/// # Errors
///
/// When pip cannot be asked.
pub(super) fn pip(python: &str) -> Result<String, String> {
    let out = Job::new([python, "-c", ASK_PIP], Path::new("/")).output()?;
    let address = out.lines().last().unwrap_or_default().trim();
    Ok(format!("{}/", address.trim_end_matches('/')))
}

/// npm's registry.
///
/// # Errors
///
/// When npm cannot be asked.
pub(super) fn npm() -> Result<String, String> {
    let out = Job::new(["npm", "config", "get", "registry"], Path::new("/")).output()?;
    Ok(out.lines().last().unwrap_or_default().trim().to_owned())
}

/// cargo's registry, from the home of a cargo that fetched from it: cargo names an index's folder
/// for its host.
///
/// # Errors
///
/// When nothing was fetched there.
pub(super) fn cargo(home: &Path) -> Result<String, String> {
    let indexes = fs::read_dir(home.join("registry/index")).into_iter().flatten().flatten();
    let names = indexes.filter_map(|e| e.file_name().into_string().ok());
    let mut hosts = names.filter_map(|n| Some(n.rsplit_once('-')?.0.to_owned()));
    let host = hosts.next().ok_or("cargo does not say which registry it fetched from")?;
    Ok(format!("sparse+https://{host}/"))
}

/// apt's http repositories that have packages.
///
/// # Errors
///
/// When apt cannot be asked.
pub(super) fn apt() -> Result<Vec<Repository>, String> {
    let form = "$(CREATED_BY)|$(REPO_URI)";
    let words = ["apt-get", "indextargets", "--no-release-info", "--format", form];
    let targets = Job::new(words, Path::new("/")).output()?;
    let dump = ["apt-config", "shell", "LIST", "Dir::Etc::sourcelist/f", "PARTS"];
    let places = Job::new(dump.into_iter().chain(["Dir::Etc::sourceparts/d"]), Path::new("/"));
    let places = places.output()?;
    let mut files = Vec::new();
    for line in places.lines() {
        let place = Path::new(line.split_once('=').map_or("", |(_, v)| v.trim_matches('\'')));
        let parts = fs::read_dir(place).into_iter().flatten().flatten().map(|e| e.path());
        files.extend(parts.chain([place.to_owned()]).filter(|f| f.is_file()));
    }
    let texts = files.iter().filter_map(|f| fs::read_to_string(f).ok());
    let keyrings: Vec<(String, String)> = texts.flat_map(|t| read_keyrings(&t)).collect();
    Ok(read_targets(&targets, &keyrings))
}

/// The keyring of each repository, from sources in either form (sources.list(5)). A keyring that
/// stands in the source itself is left out.
fn read_keyrings(text: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let bare = |url: &str| url.trim_end_matches('/').to_owned();
    for line in text.lines() {
        let words: Vec<&str> = line.split(['[', ']', ' ']).collect();
        let keys = words.iter().find_map(|w| w.strip_prefix("signed-by="));
        let url = words.iter().find(|w| w.contains("://"));
        if let (Some(keys), Some(url), true) = (keys, url, line.starts_with("deb")) {
            out.push((bare(url), keys.to_owned()));
        }
    }
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            let line = stanza.lines().find_map(|l| l.split_once(':').filter(|(n, _)| *n == name));
            line.map(|(_, value)| value.trim())
        };
        let keys = field("Signed-By").filter(|k| k.starts_with('/'));
        let urls = field("URIs").unwrap_or_default().split_whitespace();
        out.extend(urls.filter_map(|url| Some((bare(url), keys?.to_owned()))));
    }
    out
}

fn read_targets(text: &str, keyrings: &[(String, String)]) -> Vec<Repository> {
    let mut out: Vec<Repository> = Vec::new();
    for line in text.lines() {
        let Some(("Packages", url)) = line.split_once('|') else { continue };
        let url = url.trim_end_matches('/').to_owned();
        if url.starts_with("http://") && !out.iter().any(|r| r.url == url) {
            let keyring = keyrings.iter().find(|(u, _)| *u == url).map(|(_, k)| k.clone());
            out.push(Repository { url, keyring });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_once_each_with_their_keys() {
        let sources = "Types: deb\nURIs: http://debian.example/debian/\nSigned-By: /keys/a.gpg\n\n\
                       Types: deb\nURIs: http://more.example/x\nSigned-By:\n -----BEGIN\n";
        let lists = "# deb [signed-by=/no] http://debian.example/debian\n\
                     deb [arch=amd64 signed-by=/keys/b.gpg] http://lists.example/ stable main\n";
        let mut keyrings = read_keyrings(lists);
        keyrings.extend(read_keyrings(sources));
        let targets = "Packages|http://debian.example/debian/\n\
                       Packages|http://debian.example/debian/\n\
                       DEP-11|http://other.example/\n\
                       Packages|http://more.example/x\n\
                       Packages|http://lists.example/\n\
                       Packages|https://tls.example/\n";
        let repository = |url: &str, keyring: Option<&str>| Repository {
            url: url.to_owned(),
            keyring: keyring.map(str::to_owned),
        };
        assert_eq!(
            read_targets(targets, &keyrings),
            [
                repository("http://debian.example/debian", Some("/keys/a.gpg")),
                repository("http://more.example/x", None),
                repository("http://lists.example", Some("/keys/b.gpg")),
            ]
        );
    }
}
