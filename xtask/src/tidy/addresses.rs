//! Addresses that must not be in the tree: registries' hosts, paths of one machine, and where a
//! lock file says that packages were fetched from.
//!
//! The patterns are put together from pieces, so that this file does not hold what it looks for.

use super::{File, Finding, Tree};

/// A host of a registry, and what must stand before it to be meant.
struct Host {
    text: String,
    /// Whether the text alone is also a name for something else (OSV's `crates.io`).
    only_as_address: bool,
}

fn hosts() -> Vec<Host> {
    let host = |pieces: &[&str]| Host { text: pieces.concat(), only_as_address: false };
    let mut out = vec![
        host(&["pypi", ".org"]),
        host(&["python", "hosted.org"]),
        host(&["registry.", "npmjs"]),
        host(&["registry.", "yarnpkg"]),
        host(&["npm.pkg.", "github"]),
        host(&["deb.", "debian.org"]),
        host(&["security.", "debian.org"]),
        host(&["ftp.", "debian.org"]),
        host(&["snapshot.", "debian.org"]),
    ];
    out.push(Host { text: ["crates", ".io"].concat(), only_as_address: true });
    out
}

/// No registry's host: upstreams come from the clients' own configuration.
pub(super) fn registry_hosts(tree: &Tree) -> Vec<Finding> {
    let hosts = hosts();
    let remedy = "take upstreams from the client's configuration; fixtures use `registry.example`";
    let mut out = Vec::new();
    for file in tree.files() {
        for (number, line) in file.lines() {
            let line = line.to_ascii_lowercase();
            for host in hosts.iter().filter(|h| names(&line, h)) {
                let what = format!("the registry host `{}`", host.text);
                out.push(Finding::new(file, number, "registry-host", what, remedy));
            }
        }
    }
    out
}

fn names(line: &str, host: &Host) -> bool {
    line.match_indices(&host.text).any(|(at, _)| {
        let before = line.get(..at).unwrap_or_default();
        // `//crates…` is an address and `index.crates…` a host; `"crates…"` and cargo's source
        // id (`…/crates…-index`) are names.
        !host.only_as_address || before.ends_with("//") || before.ends_with('.')
    })
}

/// No path that exists on one machine only.
pub(super) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    let patterns = [["/wo", "rk/"].concat(), ["/ro", "ot/"].concat()];
    let mut out = Vec::new();
    for file in tree.files() {
        for (number, line) in file.lines() {
            for pattern in patterns.iter().filter(|p| holds_absolute(line, p)) {
                let what = format!("the path `{pattern}` of one machine");
                let remedy = "make it relative to the project, or an argument";
                out.push(Finding::new(file, number, "machine-path", what, remedy));
            }
        }
    }
    out
}

/// Whether `path` stands in the line and does not merely continue another path or an address.
fn holds_absolute(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line.get(..at).and_then(|b| b.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~}/*".contains(c))
    })
}

/// Lock files name packages and digests, not the addresses that one machine fetched from.
pub(super) fn lock_files(tree: &Tree) -> Vec<Finding> {
    let source = ["registry+https://github.com/rust-lang/", "crates", ".io-index"].concat();
    let source = format!("source = \"{source}\"");
    let locks = tree.files().iter().filter(|f| is_lock(f));
    let mut out = Vec::new();
    for file in locks {
        for (number, line) in file.lines() {
            let address = line.contains("http://") || line.contains("https://");
            let resolved = line.trim_start().trim_start_matches('"').starts_with("resolved");
            if (address || resolved) && line.trim() != source {
                let what = "a lock file with a download address";
                let remedy = "lock without addresses (npm: `omit-lockfile-registry-resolved`; cargo: no sources but the default registry)";
                out.push(Finding::new(file, number, "lock-address", what, remedy));
            }
        }
    }
    out
}

fn is_lock(file: &File) -> bool {
    let known = [
        "Cargo.lock",
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "uv.lock",
        "poetry.lock",
        "pylock.toml",
    ];
    known.contains(&file.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rule = fn(&Tree) -> Vec<Finding>;

    fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
        rule(&Tree::of(&[(path, text)])).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn registry_hosts_are_found_in_any_file() {
        for pieces in [
            ["https://PyPI", ".org/simple"],
            ["index-url = \"https://test.pypi", ".org\""],
            ["files.python", "hosted.org"],
            ["//registry.npm", "js.org/:_authToken"],
            ["registry.yarn", "pkg.com"],
            ["https://crates", ".io/api"],
            ["sparse+https://index.crates", ".io/"],
            ["static.crates", ".io"],
            ["http://deb.deb", "ian.org/debian"],
            ["security.deb", "ian.org"],
        ] {
            let text = format!("\nsee {} there\n", pieces.concat());
            for path in ["docs/a.md", "a.rs", "x.toml", ".ci/run"] {
                assert_eq!(lines(registry_hosts, path, &text), [2], "{path}: {text}");
            }
        }
    }

    #[test]
    fn names_that_look_like_hosts_are_not() {
        let io = ["crates", ".io"].concat();
        for good in [
            format!("\"{io}\" => Ecosystem::Cargo"),
            format!("source = \"registry+https://github.com/rust-lang/{io}-index\""),
            "[source.crates-io]".to_owned(),
            "https://registry.example/simple and https://www.debian.org/doc".to_owned(),
            "https://peps.python.org/pep-0691".to_owned(),
        ] {
            assert_eq!(lines(registry_hosts, "a.md", &good), [0usize; 0], "{good}");
        }
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        let (work, root) = (["/wo", "rk/"].concat(), ["/ro", "ot/"].concat());
        for bad in [
            format!("see {work}shared"),
            format!("\"{root}x\""),
            format!("{work}a"),
            format!("file://{work}a").replace("file://", "path="),
        ] {
            assert_eq!(lines(machine_paths, "a.md", &bad), [1], "{bad}");
        }
        for good in [format!("some{work}x"), format!("https://h.example{root}x"), "/working".into()]
        {
            assert_eq!(lines(machine_paths, "a.md", &good), [0usize; 0], "{good}");
        }
    }

    #[test]
    fn addresses_in_lock_files_are_found() {
        for (path, bad) in [
            ("a/package-lock.json", "{\n  \"resolved\": \"x.tgz\"\n}"),
            ("a/package-lock.json", "{\n  \"url\": \"https://h.example/x\"\n}"),
            ("uv.lock", "\nurl = \"http://h.example/x\""),
            ("fuzz/Cargo.lock", "\nsource = \"git+https://h.example/x\""),
        ] {
            assert_eq!(lines(lock_files, path, bad), [2], "{path}");
        }
        let source = ["registry+https://github.com/rust-lang/", "crates", ".io-index"].concat();
        let good = format!("[[package]]\nsource = \"{source}\"\n");
        assert_eq!(lines(lock_files, "Cargo.lock", &good), [0usize; 0]);
        assert_eq!(lines(lock_files, "docs/a.md", "https://h.example"), [0usize; 0]);
    }
}
