//! npm: its own configuration says which registry each scope comes from.

use super::node::{read_kind, read_manifest};
use super::{Asked, Command, Equipment, Gate, Seed, find_upwards, option_values, probe};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::npm;
use countersign_engine::account::{NpmPlan, Plan};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Asks npm for its registries, scopes and certificates, and reads which versions are named.
pub fn ask(command: &Command) -> Result<Asked, String> {
    let args = command.texts();
    if let Some(option) = args.iter().find(|a| leads_away(a)) {
        return Err(format!(
            "`{option}` would lead npm past the gate; set it in the environment instead"
        ));
    }
    let mut asked = Asked::default();
    let program = command.program.first().cloned().unwrap_or_default();
    let config = ask_config(&program, &args, &mut asked)?;
    let root = local_root(&args);
    let global = is_global(&args)
        .then(|| config.get("prefix").and_then(|p| p.as_str()).map(PathBuf::from))
        .flatten();
    let named = read_specs(command, &args, &mut asked);
    let sub = command.subcommand().unwrap_or_default();
    let lock_driven = matches!(sub.as_str(), "install" | "i" | "ci" | "clean-install" | "add");
    read_project(&root, lock_driven, named, &mut asked);
    if let Some(what) = asked.refused.as_ref().filter(|_| lock_driven) {
        return Err(format!(
            "`{what}` is an archive of this machine, which no registry vouches for; publish it to a \
             registry, or unpack it and name the folder"
        ));
    }
    let modules = match global {
        Some(prefix) => prefix.join("lib/node_modules"),
        None => root.join("node_modules"),
    };
    let plan = NpmPlan { modules: vec![modules], root, ..NpmPlan::default() };
    asked.installed = countersign_engine::account::installed_npm(&plan);
    asked.account = Plan::Npm(plan);
    Ok(asked)
}

/// Registries, scopes and certificates of npm's configuration, which is given back.
pub(super) fn ask_config(
    program: &OsStr,
    args: &[String],
    asked: &mut Asked,
) -> Result<serde_json::Value, String> {
    let text = probe::output(program, &["config", "ls", "-l", "--json"])?;
    let config: serde_json::Value = serde_json::from_str(&text)
        .map_err(|e| format!("npm's configuration cannot be read: {e}"))?;
    // The default registry stands first: it is where a name without a scope of its own comes from.
    let mut registries: Vec<String> = option_values(args, "--registry", None);
    if let Some(map) = config.as_object() {
        registries.extend(map.get("registry").and_then(|r| r.as_str()).map(str::to_owned));
        for (key, value) in map {
            if let (Some(scope), Some(address)) = (key.strip_suffix(":registry"), value.as_str()) {
                registries.push(address.to_owned());
                asked.scopes.insert(scope.to_owned(), address.to_owned());
            }
        }
        asked.roots.extend(map.get("cafile").and_then(|c| c.as_str()).map(PathBuf::from));
    }
    for a in args {
        // `--@scope:registry=…` on the command line.
        if let Some((key, value)) = a.split_once('=')
            && let Some(scope) = key.strip_prefix("--").and_then(|k| k.strip_suffix(":registry"))
        {
            asked.scopes.insert(scope.to_owned(), value.to_owned());
            registries.push(value.to_owned());
        }
    }
    for address in registries {
        asked.upstreams.push(Seed {
            ecosystem: Ecosystem::Npm,
            address,
            keyring: None,
            explicit: false,
        });
    }
    asked.npm_cache = config.get("cache").and_then(|c| c.as_str()).map(PathBuf::from);
    Ok(config)
}

/// Whether a word is an option that takes npm past the gate. npm takes any unambiguous beginning of
/// an option's name for the option, and `--no-…` for its opposite.
pub(super) fn leads_away(word: &str) -> bool {
    // npm takes any number of dashes for two.
    let name = word.trim_start_matches('-');
    if name.len() == word.len() {
        return false;
    }
    let name = name.split('=').next().unwrap_or(name);
    let name = name.strip_prefix("no-").unwrap_or(name);
    let begins = |full: &str, least: usize| name.len() >= least && full.starts_with(name);
    begins("https-proxy", 3)
        || begins("http-proxy", 3)
        || begins("proxy", 3)
        || begins("noproxy", 3)
        || begins("cafile", 3)
        || (begins("cache", 3) && name != "ca")
        || begins("offline", 3)
        || begins("prefer-offline", 8)
        || name == "ca"
}

fn is_global(args: &[String]) -> bool {
    args.iter().any(|a| matches!(a.as_str(), "-g" | "--global" | "--location=global"))
}

/// The folder whose `node_modules` npm works on: `--prefix`, or the nearest with a package.json
/// or node_modules (npm documentation, "folders").
fn local_root(args: &[String]) -> PathBuf {
    for name in ["--prefix", "-C"] {
        if let Some(p) = option_values(args, name, None).into_iter().next_back() {
            return PathBuf::from(p);
        }
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    here.ancestors()
        .find(|d| d.join("package.json").is_file() || d.join("node_modules").is_dir())
        .map_or_else(|| here.clone(), Path::to_path_buf)
}

/// Reads the packages that the command names; whether it names any.
fn read_specs(command: &Command, args: &[String], asked: &mut Asked) -> bool {
    let sub = command.subcommand().unwrap_or_default();
    let words: Vec<&String> = args.iter().filter(|a| !a.starts_with('-') && **a != sub).collect();
    for word in &words {
        let spec = npm::classify_spec(word);
        read_kind(spec.name.as_deref(), &spec.kind, word, Path::new("."), asked);
    }
    !words.is_empty()
}

/// Pins of the project's lock file, and direct addresses among its dependencies.
fn read_project(root: &Path, lock_driven: bool, named: bool, asked: &mut Asked) {
    for name in ["npm-shrinkwrap.json", "package-lock.json"] {
        let Some(text) = find_upwards(root, name).and_then(|p| std::fs::read(p).ok()) else {
            continue;
        };
        let Ok(packages) = npm::parse_package_lock(&text) else { continue };
        for p in packages.iter().filter(|p| !p.link) {
            if p.resolved.as_deref().is_some_and(|r| r.starts_with("file:")) && !p.in_bundle {
                asked.refused.get_or_insert(format!(
                    "{} from {}",
                    p.name,
                    p.resolved.as_deref().unwrap_or("")
                ));
            }
            if let Some(version) = &p.version {
                let purl = Purl::new(Ecosystem::Npm, &p.name, Some(version));
                if !p.in_bundle && !p.is_local() {
                    let digests = p.integrity.iter().filter(|d| !d.algorithm().is_weak()).cloned();
                    asked.locked.entry(purl.clone()).or_insert_with(|| digests.collect());
                }
                // Without packages on the command line, npm takes what the lock file names; what is
                // optional may be for another machine.
                if !named && lock_driven && !p.optional && !p.in_bundle && !p.is_local() {
                    asked.ahead.push(purl.clone());
                }
                asked.pins.push(purl);
            }
        }
        break;
    }
    read_manifest(&root.join("package.json"), asked);
}

/// Leads npm to the gate.
pub fn equip(asked: &Asked, gate: &Gate<'_>, e: &mut Equipment) -> Result<(), String> {
    e.set("npm_config_https_proxy", gate.proxy);
    e.set("npm_config_proxy", gate.proxy);
    e.set("npm_config_noproxy", "countersign.invalid");
    e.set("npm_config_cafile", gate.certificate);
    // Its cache would be taken without passing the gate; the gate keeps what it admitted.
    e.set("npm_config_cache", gate.folder.join("npm-cache"));
    // The logs that npm points at when it fails have to outlive the run.
    if let Some(cache) = &asked.npm_cache {
        e.set("npm_config_logs_dir", cache.join("_logs"));
    }
    e.set("npm_config_update_notifier", "false");
    e.set("npm_config_fetch_timeout", "900000");
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "PROXY", "proxy"] {
        e.remove.push(name.to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::leads_away;

    #[test]
    fn options_that_lead_away_are_known_by_their_beginnings() {
        for word in [
            "--https-proxy",
            "--https-prox=x",
            "--proxy=x",
            "--no-proxy",
            "--ca",
            "--cafil=x",
            "--noproxy",
            "-proxy",
            "---https-proxy=x",
        ] {
            assert!(leads_away(word), "{word}");
        }
        for word in
            ["--save", "--production", "--prefix", "install", "--provenance", "--no-save", "--call"]
        {
            assert!(!leads_away(word), "{word}");
        }
    }
}
