//! What to write where no upstream is configured: the ones that this machine's clients use.

use crate::clients::{self, Command, Seed};
use crate::context::Failed;
use countersign_core::Ecosystem;
use std::collections::BTreeSet;
use std::ffi::OsString;
use url::Url;

/// A harmless command of a client of each ecosystem, by which it is asked.
const CLIENTS: [&[&str]; 5] = [
    &["pip", "install"],
    &["uv", "pip", "install"],
    &["npm", "install"],
    &["cargo", "fetch"],
    &["apt-get", "install"],
];

/// Why the gateway does not start without an upstream, and what to write.
pub async fn no_upstream(file: &str) -> Failed {
    let seeds = tokio::task::spawn_blocking(ask).await.unwrap_or_default();
    let text = snippet(&seeds);
    let head = format!(
        "no upstream is configured, so that there is nothing to serve; write one `[[upstream]]` for each registry into {file}"
    );
    Failed::usage(if text.is_empty() {
        format!(
            "{head}:\n\n[[upstream]]\necosystem = \"pypi\"\nname = \"pypi\"\nurl = \"https://registry.example/simple/\""
        )
    } else {
        format!("{head}. The package managers of this machine use these:\n\n{}", text.trim_end())
    })
}

fn ask() -> Vec<Seed> {
    let mut out = Vec::new();
    for words in CLIENTS {
        let os: Vec<OsString> = words.iter().map(OsString::from).collect();
        let there = os.first().is_some_and(|p| clients::probe::which(p).is_some());
        let Some(command) = there.then(|| Command::detect(&os).ok()).flatten() else { continue };
        if let Ok(asked) = clients::ask(&command, &mut clients::probe::NoMemory) {
            out.extend(asked.upstreams);
        }
    }
    out
}

fn snippet(seeds: &[Seed]) -> String {
    let (mut out, mut known, mut names) = (String::new(), BTreeSet::new(), BTreeSet::new());
    for seed in seeds {
        let Ok(url) = Url::parse(seed.address.strip_prefix("sparse+").unwrap_or(&seed.address))
        else {
            continue;
        };
        let shown = countersign_engine::shown_address(url.as_str());
        let ecosystem = word(seed.ecosystem);
        if !matches!(url.scheme(), "http" | "https") || !known.insert((ecosystem, shown.clone())) {
            continue;
        }
        out.push_str(&format!("[[upstream]]\necosystem = \"{ecosystem}\"\n"));
        out.push_str(&format!("name = \"{}\"\n", free_name(ecosystem, &mut names)));
        out.push_str(&format!("url = {}\n", toml::Value::from(shown)));
        if countersign_engine::credential_of(&seed.address).is_some() {
            out.push_str("# in a variable of the gateway's environment, as user:password\n");
            out.push_str("credential = { env = \"UPSTREAM_CREDENTIAL\", scheme = \"basic\" }\n");
        }
        if let Some(keyring) = seed.keyring.as_ref().filter(|k| k.starts_with('/')) {
            out.push_str(&format!("keyring = {}\n", toml::Value::from(keyring.as_str())));
        }
        out.push('\n');
    }
    out
}

fn word(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Pypi => "pypi",
        Ecosystem::Npm => "npm",
        Ecosystem::Cargo => "cargo",
        Ecosystem::Debian => "debian",
        Ecosystem::Go => "go",
        Ecosystem::Maven => "maven",
    }
}

fn free_name(base: &str, taken: &mut BTreeSet<String>) -> String {
    let numbered = (2..).map(|n| format!("{base}-{n}"));
    let mut candidates = std::iter::once(base.to_owned()).chain(numbered);
    let name = candidates.find(|c| !taken.contains(c)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_engine::config::Config;

    #[test]
    fn the_snippet_is_a_configuration_without_secrets() {
        let seed = |ecosystem, address: &str, keyring: Option<&str>| Seed {
            ecosystem,
            address: address.to_owned(),
            keyring: keyring.map(str::to_owned),
            explicit: false,
        };
        let text = snippet(&[
            seed(Ecosystem::Pypi, "https://me:s3cret@registry.example/simple", None),
            seed(Ecosystem::Pypi, "https://registry.example/simple", None),
            seed(Ecosystem::Pypi, "https://other.example/simple", None),
            seed(Ecosystem::Cargo, "sparse+https://index.example/", None),
            seed(Ecosystem::Debian, "http://deb.example/debian", Some("/k.gpg")),
            seed(Ecosystem::Debian, "file:///srv/debs", None),
        ]);
        let (config, _) = Config::parse("c", &text).unwrap();
        let names: Vec<_> = config.upstream.iter().filter_map(|u| u.name.as_deref()).collect();
        assert_eq!(names, ["pypi", "pypi-2", "cargo", "debian"]);
        assert!(config.upstream[0].credential.is_some() && !text.contains("s3cret"), "{text}");
    }
}
