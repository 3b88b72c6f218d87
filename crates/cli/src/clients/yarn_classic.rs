//! yarn 1: it gets a cache of the run, so that everything passes the gate.

use super::node::{PLACEHOLDER, add_registry, must_be, set_plan};
use super::yarn::Project;
use super::{Asked, Equipment, Gate, option_values, probe};
use countersign_engine::account::NpmPlan;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Why an offline mirror is closed.
const MIRROR: &str =
    "an offline mirror, whose archives passed no gate; they are fetched from the registry";

/// Asks yarn 1 for its registries, caches and certificates.
pub fn ask(project: &Project<'_>, asked: &mut Asked) -> Result<(), String> {
    if let Some(option) = project.args.iter().find(|a| leads_away(a)) {
        return Err(format!(
            "`{option}` would lead yarn past the gate; set it in the environment instead"
        ));
    }
    check_rc_files(project.folder)?;
    // yarn makes the folder of its cache, whatever it is asked.
    let made = tempfile::tempdir().map_err(|e| format!("a folder cannot be made: {e}"))?;
    let cache = made.path().join("cache").display().to_string();
    let (plain, led) = ask_both(project, &cache)?;
    for (key, want) in [
        ("https-proxy", PLACEHOLDER),
        ("proxy", PLACEHOLDER),
        ("cafile", "/dev/null"),
        ("cache-folder", &cache),
        ("yarn-offline-mirror", "/dev/null/mirror"),
    ] {
        must_be("yarn", key, led.get(key).and_then(Value::as_str), want)?;
    }
    for address in option_values(project.args, "--registry", None) {
        add_registry(asked, &address);
    }
    if let Some(address) = plain.get("registry").and_then(Value::as_str) {
        add_registry(asked, address);
    }
    for (key, value) in &plain {
        if let (Some(scope), Some(address)) = (key.strip_suffix(":registry"), value.as_str()) {
            asked.scopes.insert(scope.to_owned(), address.to_owned());
            add_registry(asked, address);
        }
    }
    asked.roots.extend(plain.get("cafile").and_then(Value::as_str).map(PathBuf::from));
    if let Some(mirror) = plain.get("yarn-offline-mirror").and_then(Value::as_str) {
        asked.doors.push((mirror.to_owned(), MIRROR.to_owned(), false));
    }
    let mut plan = NpmPlan { root: project.root.to_path_buf(), ..NpmPlan::default() };
    plan.modules.extend(
        option_values(project.args, "--modules-folder", None)
            .iter()
            .map(|m| project.folder.join(m)),
    );
    if matches!(project.sub, "global" | "create") {
        let global = probe::output_in(project.program, &["global", "dir"], &[], project.folder)?;
        plan.modules.push(PathBuf::from(global.trim()).join("node_modules"));
    } else {
        plan.modules.push(project.root.join("node_modules"));
        plan.search.push(project.root.to_path_buf());
    }
    set_plan(plan, asked);
    Ok(())
}

/// Options that take yarn 1 past the gate, to another cache, or to another configuration.
fn leads_away(word: &str) -> bool {
    let Some(name) = word.strip_prefix("--") else { return false };
    let name = name.split('=').next().unwrap_or(name);
    matches!(
        name,
        "https-proxy"
            | "proxy"
            | "cafile"
            | "cache-folder"
            | "offline"
            | "use-yarnrc"
            | "preferred-cache-folder"
    )
}

/// Arguments that a `.yarnrc` adds to the command line come before the environment.
fn check_rc_files(folder: &Path) -> Result<(), String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let homes = home.iter().flat_map(|h| [h.join(".yarnrc"), h.join(".config/yarn/config")]);
    let files = folder.ancestors().map(|d| d.join(".yarnrc")).chain(homes);
    for file in files.chain([PathBuf::from("/etc/yarnrc"), PathBuf::from("/usr/local/etc/yarnrc")])
    {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        for line in text.lines() {
            let key = line.split_whitespace().next().unwrap_or("").trim_matches('"');
            // `--install.cache-folder`, `--*.proxy`.
            let name = key.strip_prefix("--").map(|k| k.rsplit('.').next().unwrap_or(k));
            if name.is_some_and(|n| leads_away(&format!("--{n}")) || n == "modules-folder") {
                return Err(format!(
                    "`{key}` in `{}` would lead yarn past the gate; take it out for this run",
                    file.display()
                ));
            }
        }
    }
    Ok(())
}

/// yarn's settings by their names.
type Settings = Map<String, Value>;

/// yarn's settings as they are, and those that it would use behind the gate. What it reads of npm's
/// configuration counts where its own says nothing.
fn ask_both(project: &Project<'_>, cache: &str) -> Result<(Settings, Settings), String> {
    let ask = |env: &[(String, String)]| {
        let text =
            probe::output_in(project.program, &["config", "list", "--json"], env, project.folder)?;
        let mut all = Map::new();
        for line in text.lines() {
            let Ok(Value::Object(line)) = serde_json::from_str::<Value>(line) else { continue };
            if line.get("type").and_then(Value::as_str) == Some("error") {
                let why = line.get("data").and_then(Value::as_str).unwrap_or("it says nothing");
                return Err(format!("yarn's configuration cannot be read: {why}"));
            }
            if let Some(Value::Object(data)) = line.get("data") {
                for (key, value) in data {
                    // Registries are the other way round: npm's configuration, which is the second
                    // that yarn shows, comes first.
                    if key == "registry" || key.ends_with(":registry") {
                        all.insert(key.clone(), value.clone());
                    } else {
                        all.entry(key.clone()).or_insert_with(|| value.clone());
                    }
                }
            }
        }
        Ok(all)
    };
    std::thread::scope(|s| {
        let led = s.spawn(|| ask(&settings(PLACEHOLDER, "/dev/null", cache, "/dev/null/mirror")));
        let plain = ask(&[])?;
        let led = led.join().map_err(|_| "yarn could not be asked".to_owned())??;
        Ok((plain, led))
    })
}

/// The settings that lead yarn 1 to the gate.
fn settings(proxy: &str, certificate: &str, cache: &str, mirror: &str) -> Vec<(String, String)> {
    [
        ("yarn_https_proxy", proxy),
        ("yarn_proxy", proxy),
        ("yarn_cafile", certificate),
        ("yarn_cache_folder", cache),
        ("YARN_CACHE_FOLDER", cache),
        ("yarn_yarn_offline_mirror", mirror),
        ("yarn_disable_self_update_check", "true"),
        ("yarn_network_timeout", "900000"),
        ("npm_config_https_proxy", proxy),
        ("npm_config_proxy", proxy),
        ("npm_config_cafile", certificate),
    ]
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .to_vec()
}

/// Leads yarn 1 to the gate.
pub fn equip(asked: &Asked, gate: &Gate<'_>, e: &mut Equipment) -> Result<(), String> {
    let at = |name: &str| gate.folder.join(name).display().to_string();
    let certificate = gate.certificate.display().to_string();
    let mirror = at("yarn-mirror");
    let mirrored = asked.doors.iter().any(|(_, why, _)| why == MIRROR);
    for (name, value) in settings(gate.proxy, &certificate, &at("yarn-cache"), &mirror) {
        if mirrored || value != mirror {
            e.set(&name, value);
        }
    }
    if mirrored {
        // An empty one, which yarn fills.
        std::fs::create_dir_all(&mirror).map_err(|e| format!("`{mirror}`: {e}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_configuration_file_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        for (line, ok) in [
            ("registry \"https://r.example/\"", true),
            ("--install.production true", true),
            ("--install.https-proxy \"http://x.example\"", false),
            ("\"--*.cache-folder\" \"./c\"", false),
            ("--modules-folder ./m", false),
        ] {
            std::fs::write(folder.path().join(".yarnrc"), format!("{line}\n")).unwrap();
            assert_eq!(check_rc_files(folder.path()).is_ok(), ok, "{line}");
        }
    }
}
