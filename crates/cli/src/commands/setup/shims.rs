//! Programs that stand before the package managers on the path and lead them through the gate.
//!
//! A shim is a script of the plainest shell: it starts in a millisecond, where the gate itself takes
//! several. What installs nothing goes straight to the real program. The tables below name what may:
//! everything that they do not name, and everything that begins with an option, goes through the gate.

use std::path::Path;

/// A program, and what of it installs nothing.
struct Shim {
    name: &'static str,
    /// First words with which nothing is installed.
    words: &'static str,
    /// First two words with which nothing is installed.
    pairs: &'static [&'static str],
    /// Whether the program without a word installs nothing.
    bare: bool,
}

const PIP: &str =
    "list freeze show check config cache debug inspect hash help completion uninstall search index";
const APT: &str = "update list search show showsrc help moo changelog check clean autoclean depends rdepends policy indextargets edit-sources";

const SHIMS: [Shim; 15] = [
    Shim { name: "pip", words: PIP, pairs: &[], bare: true },
    Shim { name: "pip3", words: PIP, pairs: &[], bare: true },
    Shim {
        name: "uv",
        words: "version help self cache auth init",
        pairs: &["pip list", "pip freeze", "pip show", "pip check", "pip tree", "pip uninstall"],
        bare: true,
    },
    Shim { name: "uvx", words: "", pairs: &[], bare: false },
    Shim {
        name: "pipx",
        words: "list environment completions uninstall uninstall-all ensurepath help",
        pairs: &[],
        bare: true,
    },
    Shim {
        name: "poetry",
        words: "about check config env help list run search shell show version publish source",
        pairs: &[],
        bare: true,
    },
    Shim {
        name: "npm",
        words: "run run-script rum urn test tst t start stop restart ls list la ll view v info show config c get set help help-search whoami version outdated fund root prefix bin explain why pkg login adduser logout publish search find token owner author dist-tag dist-tags ping docs home repo bugs issues query sbom stars profile org team access deprecate unpublish completion",
        pairs: &[],
        bare: true,
    },
    Shim { name: "npx", words: "", pairs: &[], bare: false },
    Shim {
        name: "pnpm",
        words: "list ls la ll why outdated root bin config c help licenses login logout publish",
        pairs: &[],
        bare: true,
    },
    Shim {
        name: "yarn",
        words: "run test start stop why list info config help bin versions version node licenses owner login logout tag outdated",
        pairs: &[],
        bare: false,
    },
    Shim {
        name: "bun",
        words: "help",
        pairs: &["pm ls", "pm bin", "pm hash", "pm whoami"],
        bare: true,
    },
    Shim { name: "bunx", words: "", pairs: &[], bare: false },
    Shim {
        name: "cargo",
        words: "fmt version help new init clean locate-project verify-project read-manifest login logout owner yank search info uninstall report",
        pairs: &[],
        bare: true,
    },
    Shim { name: "apt", words: APT, pairs: &[], bare: true },
    Shim { name: "apt-get", words: APT, pairs: &[], bare: true },
];

/// The programs that there are shims for.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIMS.iter().map(|s| s.name)
}

/// The scripts of a client: its own name, and the versioned ones of pip that `path` holds.
pub fn scripts(client: &str, folder: &Path, gate: &Path, path: &[String]) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for shim in &SHIMS {
        let versioned = path.iter().filter(|n| shim.name == "pip" && is_versioned_pip(n));
        if family(shim.name) == family(client) && (shim.name == client || family(client) == client)
        {
            let names = std::iter::once(shim.name).chain(versioned.map(String::as_str));
            out.extend(names.map(|n| (n.to_owned(), script(shim, n, folder, gate))));
        }
    }
    out
}

/// The client that a program belongs to.
fn family(name: &str) -> &str {
    match name {
        "pip3" => "pip",
        "uvx" => "uv",
        "npx" => "npm",
        "bunx" => "bun",
        "apt-get" => "apt",
        other => other,
    }
}

fn is_versioned_pip(name: &str) -> bool {
    name.strip_prefix("pip3.")
        .is_some_and(|v| !v.is_empty() && v.chars().all(|c| c.is_ascii_digit()))
}

/// A text as one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn script(shim: &Shim, name: &str, folder: &Path, gate: &Path) -> String {
    let folder = quoted(&folder.display().to_string());
    let gate = quoted(&gate.display().to_string());
    let toolchain = if shim.name == "cargo" {
        // `cargo +nightly fmt`: rustup's word comes first.
        "case \"${1-}\" in +*) first=${2-} ;; *) first=${1-} ;; esac\n"
    } else {
        "first=${1-}\n"
    };
    let mut known = String::from("-h | --help | -V | --version");
    for word in shim.words.split_whitespace() {
        known.push_str(&format!(" | {word}"));
    }
    if matches!(shim.name, "npm" | "pnpm" | "yarn" | "bun") {
        known.push_str(" | -v");
    }
    let pairs = if shim.pairs.is_empty() {
        String::new()
    } else {
        let list: Vec<String> = shim.pairs.iter().map(|p| quoted(p)).collect();
        format!("case \"${{1-}} ${{2-}}\" in {}) exec \"$real\" \"$@\" ;; esac\n", list.join(" | "))
    };
    let bare = if shim.bare { "[ $# -eq 0 ] && exec \"$real\"\n" } else { "" };
    format!(
        r#"#!/bin/sh
# Written by `countersign setup`; `countersign setup --undo` removes it.
# Leads `{name}` through the gate. What installs nothing goes straight to the program itself.
real= rest=$PATH:
while [ -n "$rest" ]; do
    dir=${{rest%%:*}} rest=${{rest#*:}}
    if [ -x "${{dir:-.}}/{name}" ] && [ ! -d "${{dir:-.}}/{name}" ] && [ ! "${{dir:-.}}" -ef {folder} ]; then
        real=${{dir:-.}}/{name}
        break
    fi
done
if [ -z "$real" ]; then
    echo "{name}: not found behind the shim of countersign" >&2
    exit 127
fi
{bare}{toolchain}case $first in {known}) exec "$real" "$@" ;; esac
{pairs}if [ ! -x {gate} ]; then
    echo "countersign is not at {plain} any more, and {name} does not run without the gate;" >&2
    echo "install it there, or take this shim away: rm {folder}/{name}" >&2
    exit 94
fi
exec {gate} run --quiet -- "$real" "$@"
"#,
        plain = gate.trim_matches('\''),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_programs() {
        let names = |client: &str| -> Vec<String> {
            let path = ["pip3.11".to_owned(), "pip3.x".to_owned(), "pip3".to_owned()];
            let all = scripts(client, Path::new("/s"), Path::new("/g"), &path);
            all.into_iter().map(|(n, _)| n).collect()
        };
        assert_eq!(names("pip"), ["pip", "pip3.11", "pip3"]);
        assert_eq!(names("uv"), ["uv", "uvx"]);
        assert_eq!(names("npx"), ["npx"]);
        assert_eq!(names("cargo"), ["cargo"]);
        assert_eq!(names("apt"), ["apt", "apt-get"]);
        assert!(names("conda").is_empty());
    }

    #[test]
    fn nothing_that_installs_is_let_past() {
        let installing = [
            "install",
            "i",
            "ci",
            "add",
            "update",
            "upgrade",
            "sync",
            "lock",
            "download",
            "wheel",
            "exec",
            "dlx",
            "x",
            "create",
            "build",
            "check",
            "test",
            "run",
            "fetch",
            "tree",
            "vendor",
            "publish",
            "package",
            "dist-upgrade",
            "full-upgrade",
            "source",
            "build-dep",
            "reinstall",
            "remove",
            "autoremove",
            "pack",
            "cache",
            "audit",
            "rebuild",
            "dedupe",
            "prune",
            "init",
        ];
        // What the same word means in another client installs nothing there.
        let fine = [
            ("pip", "check"),
            ("pip3", "check"),
            ("pip", "cache"),
            ("pip3", "cache"),
            ("poetry", "check"),
            ("poetry", "run"),
            ("poetry", "publish"),
            ("poetry", "source"),
            ("npm", "run"),
            ("npm", "test"),
            ("npm", "publish"),
            ("pnpm", "publish"),
            ("yarn", "run"),
            ("yarn", "test"),
            ("uv", "cache"),
            ("uv", "init"),
            ("cargo", "init"),
            ("apt", "update"),
            ("apt-get", "update"),
            ("apt", "check"),
            ("apt-get", "check"),
        ];
        for shim in &SHIMS {
            for word in shim.words.split_whitespace().filter(|w| installing.contains(w)) {
                assert!(fine.contains(&(shim.name, word)), "{} {word}", shim.name);
            }
        }
    }

    #[test]
    fn folders_with_odd_names_stay_one_word() {
        let shown = quoted("/it's here");
        assert_eq!(shown, r"'/it'\''s here'");
    }
}
