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
    let form = "$(CREATED_BY)|$(REPO_URI)|$(SIGNED_BY)";
    let words = ["apt-get", "indextargets", "--no-release-info", "--format", form];
    let out = Job::new(words, Path::new("/")).output()?;
    Ok(read_targets(&out))
}

fn read_targets(text: &str) -> Vec<Repository> {
    let mut out: Vec<Repository> = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let ["Packages", url, keys] = fields.as_slice() else { continue };
        let found = Repository {
            url: url.trim_end_matches('/').to_owned(),
            // What apt does not know stays as it was asked for.
            keyring: Some((*keys).to_owned()).filter(|k| k.starts_with('/')),
        };
        if found.url.starts_with("http://") && !out.iter().any(|r| r.url == found.url) {
            out.push(found);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_read_once_each() {
        let text = "Packages|http://debian.example/debian/|/keys/a.gpg\n\
                    Packages|http://debian.example/debian/|/keys/a.gpg\n\
                    DEP-11|http://other.example/|$(SIGNED_BY)\n\
                    Packages|http://more.example/x|$(SIGNED_BY)\n\
                    Packages|https://tls.example/|$(SIGNED_BY)\n";
        let repository = |url: &str, keyring: Option<&str>| Repository {
            url: url.to_owned(),
            keyring: keyring.map(str::to_owned),
        };
        assert_eq!(
            read_targets(text),
            [
                repository("http://debian.example/debian", Some("/keys/a.gpg")),
                repository("http://more.example/x", None),
            ]
        );
    }
}
