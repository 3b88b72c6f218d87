//! yarn 2 and later: what it loads out of its zips is compared, whenever they came there.

use super::node::{PLACEHOLDER, add_registry, must_be, set_plan};
use super::yarn::Project;
use super::{Asked, Command, Equipment, Gate, probe};
use countersign_core::{Ecosystem, Purl};
use countersign_engine::account::NpmPlan;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The folder of the run in which `yarn dlx` keeps its zips.
const RUN_FOLDER: &str = "yarn-global";

/// `yarn create thing` is `yarn dlx create-thing`.
fn is_dlx(sub: &str) -> bool {
    matches!(sub, "dlx" | "create")
}

/// Asks yarn for its registries, linker and folders.
pub fn ask(project: &Project<'_>, asked: &mut Asked) -> Result<(), String> {
    if matches!(project.sub, "set" | "plugin") {
        return Err(format!(
            "`yarn {}` fetches programs that no registry serves; run it without the gate, or not at all",
            project.sub
        ));
    }
    let (plain, led) = ask_both(project)?;
    for (key, want) in
        [("httpsProxy", PLACEHOLDER), ("httpProxy", PLACEHOLDER), ("httpsCaFilePath", "/dev/null")]
    {
        must_be("yarn", key, led.get(key).and_then(Value::as_str), want)?;
    }
    check_hosts(&value_of(project, "networkSettings")?)?;
    if let Some(address) = plain.get("npmRegistryServer").and_then(Value::as_str) {
        add_registry(asked, address);
    }
    let scopes = value_of(project, "npmScopes")?;
    for (scope, settings) in scopes.as_object().into_iter().flatten() {
        if let Some(address) = settings.get("npmRegistryServer").and_then(Value::as_str) {
            asked.scopes.insert(format!("@{scope}"), address.to_owned());
            add_registry(asked, address);
        }
    }
    asked.roots.extend(plain.get("httpsCaFilePath").and_then(Value::as_str).map(PathBuf::from));
    let dlx = is_dlx(project.sub);
    let place = |key: &str| plain.get(key).and_then(Value::as_str).map(PathBuf::from);
    if project.sub == "install" && place("cacheFolder").is_some_and(|c| is_filled(&c)) {
        // What lies in the cache is taken without asking for it: it is judged before that.
        let text = std::fs::read_to_string(project.root.join("yarn.lock")).unwrap_or_default();
        asked.ahead = for_any_machine(&text);
        asked.ahead_first = true;
    }
    let mut plan = NpmPlan {
        root: project.root.to_path_buf(),
        pnp: Some(project.root.join(".pnp.cjs")),
        lock: Some(project.root.join("yarn.lock")),
        late: true,
        ..NpmPlan::default()
    };
    if dlx {
        plan.zips_in_run = Some(PathBuf::from(RUN_FOLDER));
        plan.expected = true;
    } else {
        plan.search.push(project.root.to_path_buf());
        plan.unplugged = place("pnpUnpluggedFolder");
        plan.stores.extend(place("pnpmStoreFolder"));
    }
    set_plan(plan, asked);
    Ok(())
}

/// Whether a cache holds anything.
fn is_filled(cache: &Path) -> bool {
    std::fs::read_dir(cache).is_ok_and(|mut d| d.next().is_some())
}

/// The registry's packages of a lock file but those for one kind of machine (`conditions`).
fn for_any_machine(lock: &str) -> Vec<Purl> {
    lock.split("\n\n")
        .filter(|entry| !entry.contains("\n  conditions:"))
        .filter_map(locked)
        .collect()
}

fn locked(entry: &str) -> Option<Purl> {
    let line = entry.lines().find_map(|l| l.strip_prefix("  resolution: \""))?;
    let (name, version) = line.trim_end_matches('"').split_once("@npm:")?;
    // What follows is for yarn: an address that it keeps for an archive in an unusual place.
    let version = version.split("::").next().unwrap_or(version);
    countersign_ecosystem::npm::validate_name(name)
        .then(|| Purl::new(Ecosystem::Npm, name, Some(version)))
}

/// A setting that holds others, as yarn prints it.
fn value_of(project: &Project<'_>, key: &str) -> Result<Value, String> {
    let words = ["config", "get", key, "--json"];
    let text = probe::output_in(project.program, &words, &[], project.folder)?;
    // A setting that is not there has no value in JSON.
    match text.trim() {
        "" | "undefined" => Ok(Value::Null),
        text => serde_json::from_str(text)
            .map_err(|e| format!("yarn's setting `{key}` cannot be read: {e}")),
    }
}

/// Settings for single hosts come before those of the environment.
fn check_hosts(settings: &Value) -> Result<(), String> {
    for (host, of_host) in settings.as_object().into_iter().flatten() {
        for key in ["httpsProxy", "httpProxy", "httpsCaFilePath"] {
            let value = of_host.get(key).and_then(Value::as_str);
            must_be("yarn", &format!("networkSettings {host} {key}"), value, "")?;
        }
    }
    Ok(())
}

/// yarn's settings by their names.
type Settings = BTreeMap<String, Value>;

/// yarn's settings as they are, and those that it would use behind the gate.
fn ask_both(project: &Project<'_>) -> Result<(Settings, Settings), String> {
    let ask = |env: &[(String, String)]| {
        let text = probe::output_in(project.program, &["config", "--json"], env, project.folder)?;
        let mut all = BTreeMap::new();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            if let (Some(key), Some(value)) =
                (line.get("key").and_then(Value::as_str), line.get("effective"))
            {
                all.insert(key.to_owned(), value.clone());
            }
        }
        if all.is_empty() {
            Err("yarn does not show its configuration".to_owned())
        } else {
            Ok(all)
        }
    };
    std::thread::scope(|s| {
        let led = s.spawn(|| ask(&settings(PLACEHOLDER, "/dev/null")));
        let plain = ask(&[])?;
        let led = led.join().map_err(|_| "yarn could not be asked".to_owned())??;
        Ok((plain, led))
    })
}

/// The settings that lead yarn to the gate.
fn settings(proxy: &str, certificate: &str) -> Vec<(String, String)> {
    [
        ("YARN_HTTPS_PROXY", proxy),
        ("YARN_HTTP_PROXY", proxy),
        ("YARN_HTTPS_CA_FILE_PATH", certificate),
        ("YARN_ENABLE_TELEMETRY", "0"),
    ]
    .map(|(n, v)| (n.to_owned(), v.to_owned()))
    .to_vec()
}

/// Leads yarn to the gate.
pub fn equip(command: &Command, gate: &Gate<'_>, e: &mut Equipment) {
    for (name, value) in settings(gate.proxy, &gate.certificate.display().to_string()) {
        e.set(&name, value);
    }
    e.set("YARN_HTTP_TIMEOUT", "900000");
    if command.subcommand().is_some_and(|s| is_dlx(&s)) {
        // Its project is gone when it ends; the zips that it was loaded from are not.
        e.set("YARN_ENABLE_GLOBAL_CACHE", "true");
        e.set("YARN_GLOBAL_FOLDER", gate.folder.join(RUN_FOLDER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_gives_what_any_machine_needs() {
        let lock = "__metadata:\n  version: 10\n\n\"@s/a@npm:^1.0.0\":\n  version: 1.0.0\n  resolution: \"@s/a@npm:1.0.0\"\n\n\
            \"b@npm:2\":\n  resolution: \"b@npm:2.0.0\"\n  conditions: os=linux\n\n\
            \"c@npm:3\":\n  resolution: \"c@npm:3.0.0::__archiveUrl=x\"\n\n\
            \"d@patch:d@npm%3A4\":\n  resolution: \"d@patch:d@npm%3A4.0.0#x\"\n\n\
            \"p@workspace:.\":\n  resolution: \"p@workspace:.\"\n";
        let all: Vec<_> = for_any_machine(lock).iter().map(Purl::label).collect();
        assert_eq!(all, ["@s/a 1.0.0", "c 3.0.0"]);
    }
}
