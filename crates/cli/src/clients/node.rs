//! What npm, npx, pnpm, yarn and bun have in common: package specs, package.json, lock files,
//! corepack.

use super::{Asked, Command, Equipment, Seed, probe};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::inventory::{self, Format};
use countersign_ecosystem::npm::{self, NpmSpecKind as SpecKind};
use countersign_engine::account::{NpmPlan, Plan};
use std::path::{Path, PathBuf};

/// The value of settings that say what does not go through a proxy: a name that no host has.
pub const NOT_PROXIED: &str = "countersign.invalid";

/// What the client is told instead of the gate's address while it is asked.
pub const PLACEHOLDER: &str = "http://127.0.0.1:9";

/// Most package.json files of a project that are read for side doors.
const MAX_MANIFESTS: usize = 2_000;

/// Adds a registry to what the client fetches from, unless it is there.
pub fn add_registry(asked: &mut Asked, address: &str) {
    add_seed(asked, address, false);
}

/// Adds a registry that only what is bound to it comes from, by a scope or a prefix.
pub fn add_bound_registry(asked: &mut Asked, address: &str) {
    add_seed(asked, address, true);
}

fn add_seed(asked: &mut Asked, address: &str, explicit: bool) {
    let plain = |a: &str| a.trim_end_matches('/').to_owned();
    if asked.upstreams.iter().all(|s| plain(&s.address) != plain(address)) {
        asked.upstreams.push(Seed {
            ecosystem: Ecosystem::Npm,
            address: address.to_owned(),
            keyring: None,
            explicit,
        });
    }
}

/// Reads one package spec: exact versions are pins, addresses are side doors, archives of this
/// machine are refused. `folder` is what paths are relative to.
pub fn read_kind(
    name: Option<&str>,
    kind: &SpecKind,
    text: &str,
    folder: &Path,
    asked: &mut Asked,
) {
    match kind {
        SpecKind::Exact(version) => {
            asked.pins.extend(name.map(|n| Purl::new(Ecosystem::Npm, n, Some(version))));
        }
        SpecKind::LocalPath(path) => {
            // A folder is the user's own project; an archive is somebody's package.
            let path = path.strip_prefix("file:").unwrap_or(path);
            if folder.join(path).is_dir() {
                note_local(&folder.join(path), asked);
            } else {
                asked.refused.get_or_insert(text.to_owned());
            }
        }
        SpecKind::Alias { name, kind } => read_kind(Some(name), kind, text, folder, asked),
        SpecKind::Url(_) | SpecKind::Git(_) => asked.doors.push((
            countersign_engine::shown_address(text),
            "a direct address, known to no registry".to_owned(),
            true,
        )),
        _ => {}
    }
}

/// Notes the name of a package that the user keeps in a folder.
fn note_local(folder: &Path, asked: &mut Asked) {
    let text = std::fs::read(folder.join("package.json")).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    if let Some(name) = json.get("name").and_then(|n| n.as_str()) {
        asked.local_names.push(name.to_owned());
    }
}

/// Specs of pnpm, yarn and bun that name no place outside of project and registry.
fn is_of_the_project(range: &str) -> bool {
    ["workspace:", "link:", "portal:", "catalog:", "patch:", "virtual:"]
        .iter()
        .any(|p| range.starts_with(p))
}

/// Reads a package.json: direct addresses among its dependencies.
pub fn read_manifest(file: &Path, asked: &mut Asked) {
    let manifest = std::fs::read(file).unwrap_or_default();
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&manifest) else { return };
    let folder = file.parent().unwrap_or(Path::new("."));
    for section in ["dependencies", "devDependencies", "optionalDependencies"] {
        let Some(map) = json.get(section).and_then(|s| s.as_object()) else { continue };
        for (name, value) in map {
            let Some(range) = value.as_str().filter(|r| !is_of_the_project(r)) else { continue };
            // yarn writes the protocol of the registry before a range.
            let plain = range.strip_prefix("npm:").filter(|r| npm_range(r)).unwrap_or(range);
            let spec = npm::classify_spec(&format!("{name}@{plain}"));
            read_kind(Some(name), &spec.kind, &format!("{name}@{range}"), folder, asked);
        }
    }
}

fn npm_range(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || "^~<>=*".contains(c))
}

/// Reads the package.json files of a project and of what lies in it.
pub fn read_manifests(root: &Path, asked: &mut Asked) {
    let mut left = MAX_MANIFESTS;
    manifests_below(root, 0, &mut left, asked);
}

fn manifests_below(folder: &Path, depth: usize, left: &mut usize, asked: &mut Asked) {
    read_manifest(&folder.join("package.json"), asked);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let folder = entry.file_type().is_ok_and(|t| t.is_dir());
        if folder && name != "node_modules" && !name.starts_with('.') && depth < 6 && *left > 0 {
            *left -= 1;
            manifests_below(&entry.path(), depth + 1, left, asked);
        }
    }
}

/// Reads the packages that a command names. `words` are those that are no option.
pub fn read_words(words: &[String], root: &Path, asked: &mut Asked) {
    for word in words {
        let plain = word.replacen("@npm:", "@", usize::from(!word.contains("@npm:@")));
        let spec = npm::classify_spec(if npm_alias(word) { word } else { &plain });
        read_kind(spec.name.as_deref(), &spec.kind, word, root, asked);
    }
}

/// Whether a word is `name@npm:other@…`.
fn npm_alias(word: &str) -> bool {
    word.split_once("@npm:").is_some_and(|(_, rest)| !npm_range(rest))
}

/// Pins and digests of a lock file, and what it takes from elsewhere.
pub fn read_lock(file: &Path, format: Format, asked: &mut Asked) {
    let Some(lock) = std::fs::read(file).ok().and_then(|b| inventory::parse(format, &b).ok())
    else {
        return;
    };
    for one in lock.listed {
        let digests = one.files.iter().flat_map(|f| &f.digests);
        let strong = digests.filter(|d| !d.algorithm().is_weak()).cloned();
        asked.locked.entry(one.purl.clone()).or_insert_with(|| strong.collect());
        asked.pins.push(one.purl);
    }
}

/// The words up to the program that a command hands the rest to (`pnpm dlx thing …`). An option that
/// is no known flag may take the next word as its value; then more words count as the client's own,
/// never fewer.
pub fn before_program(args: &[String], sub: &str) -> Vec<String> {
    let flags = ["-y", "--yes", "-s", "--silent", "-q", "--quiet", "--bun", "-c", "--shell-mode"];
    let mut own = Vec::new();
    let mut words = args.iter().take_while(|w| *w != "--").peekable();
    while let Some(word) = words.next() {
        own.push(word.clone());
        if word.starts_with('-') {
            if !word.contains('=') && !flags.contains(&word.as_str()) {
                own.extend(words.next_if(|w| !w.starts_with('-')).cloned());
            }
        } else if word != sub {
            break;
        }
    }
    own
}

/// Refuses a command that would install an archive of this machine.
pub fn check_archives(asked: &Asked) -> Result<(), String> {
    match &asked.refused {
        Some(what) => Err(format!(
            "`{what}` is an archive of this machine, which no registry vouches for; publish it to a \
             registry, or unpack it and name the folder"
        )),
        None => Ok(()),
    }
}

/// Sets the plan of the account, and what is installed now.
pub fn set_plan(mut plan: NpmPlan, asked: &mut Asked) {
    plan.local.append(&mut asked.local_names);
    asked.installed = countersign_engine::account::installed_npm(&plan);
    asked.account = Plan::Npm(plan);
}

/// The folder that a client works in: what an option names, else the nearest with a package.json.
pub fn project(named: Option<String>) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    match named {
        Some(folder) => here.join(folder),
        None => here
            .ancestors()
            .find(|d| d.join("package.json").is_file())
            .map_or_else(|| here.clone(), Path::to_path_buf),
    }
}

/// The outermost folder from `start` upwards that one of these files marks, else `start`.
pub fn workspace(start: &Path, marks: &[&str]) -> PathBuf {
    let marked = |d: &&Path| marks.iter().any(|m| d.join(m).is_file());
    start.ancestors().find(marked).unwrap_or(start).to_path_buf()
}

/// The program of a command.
pub fn program(command: &Command) -> std::ffi::OsString {
    command.program.first().cloned().unwrap_or_default()
}

/// A client's setting must be what the gate sets; anything else comes from a configuration that the
/// client prefers to its environment.
pub fn must_be(client: &str, key: &str, got: Option<&str>, want: &str) -> Result<(), String> {
    match got.filter(|g| *g != want && !g.is_empty() && *g != "undefined" && *g != "null") {
        None => Ok(()),
        Some(other) => Err(format!(
            "`{key}` = `{}` in {client}'s own configuration would lead it past the gate; take it out \
             for this run, and give proxies in HTTPS_PROXY and HTTP_PROXY",
            countersign_engine::shown_address(other)
        )),
    }
}

/// Names corepack, where the program is one of its: it may not download a package manager.
pub fn name_corepack(command: &Command, asked: &mut Asked) {
    let real = probe::which(&program(command)).and_then(|p| p.canonicalize().ok());
    if real.is_some_and(|p| p.components().any(|c| c.as_os_str() == "corepack")) {
        asked.doors.push((
            "corepack".to_owned(),
            "it fetches package managers, which pass no gate; have yours ready with `corepack install`"
                .to_owned(),
            false,
        ));
    }
}

/// Corepack's settings, while a client is asked and while it runs.
pub const COREPACK: [(&str, &str); 3] = [
    ("COREPACK_ENABLE_NETWORK", "0"),
    ("COREPACK_ENABLE_AUTO_PIN", "0"),
    ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
];

/// What all of these clients get beside their own settings.
pub fn equip(e: &mut Equipment) {
    for (name, value) in COREPACK {
        e.set(name, value);
    }
    // An empty one could be filled from a file of the project (bun's `.env`).
    for name in ["NO_PROXY", "no_proxy"] {
        e.set(name, NOT_PROXIED);
    }
}

/// Takes the general proxies away: what packages' scripts fetch is not led.
pub fn without_general_proxies(e: &mut Equipment) {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PROXY"] {
        e.remove.push(name.to_owned());
        e.remove.push(name.to_ascii_lowercase());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_with_and_without_the_protocol() {
        let mut asked = Asked::default();
        let words =
            ["a@1.0.0", "b@npm:2.0.0", "c@npm:@s/real@3.0.0", "d", "e@git+https://x.example/e"];
        read_words(&words.map(String::from), Path::new("."), &mut asked);
        let pins: Vec<_> = asked.pins.iter().map(Purl::label).collect();
        assert_eq!(pins, ["a 1.0.0", "b 2.0.0", "@s/real 3.0.0"]);
        assert_eq!(asked.doors.len(), 1);
    }

    #[test]
    fn another_setting_than_the_gates_is_an_error() {
        assert!(must_be("pnpm", "https-proxy", Some(PLACEHOLDER), PLACEHOLDER).is_ok());
        assert!(must_be("pnpm", "https-proxy", None, PLACEHOLDER).is_ok());
        let e = must_be("pnpm", "https-proxy", Some("http://u:pw@x.example"), PLACEHOLDER);
        assert!(e.is_err_and(|e| e.contains("x.example") && !e.contains("pw")));
    }
}
