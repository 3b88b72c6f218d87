//! pnpm: its configuration says which registry each scope comes from; its store is compared like
//! what is fetched.

use super::node::{
    self, NOT_PROXIED, PLACEHOLDER, add_bound_registry, add_registry, must_be, read_words,
};
use super::{Asked, Command, Equipment, Gate, option_values, pnpm_shims, probe};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::inventory::Format;
use countersign_engine::account::NpmPlan;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[
    "install",
    "i",
    "add",
    "update",
    "up",
    "upgrade",
    "ci",
    "clean-install",
    "ic",
    "install-clean",
    "install-test",
    "it",
    "import",
    "fetch",
    "dlx",
    "create",
    "remove",
    "rm",
    "uninstall",
    "un",
    "link",
    "ln",
    "dedupe",
    "prune",
    "rebuild",
    "rb",
    "deploy",
    "exec",
    "run",
    "patch",
    "patch-commit",
    "list",
    "ls",
    "why",
    "outdated",
    "audit",
    "config",
    "store",
    "root",
    "view",
    "self-update",
    "runtime",
    "env",
    "test",
    "start",
    "publish",
    "pack",
];

/// Subcommands that fetch something that no npm registry serves.
const NOT_GATED: &[&str] = &["env", "runtime", "rt", "self-update"];

/// Asks pnpm for its registries and stores, and reads which versions are named.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    let args = command.texts();
    let sub = subcommand(command);
    if let Some(option) = own_words(&args, &sub).iter().find(|a| leads_away(a)) {
        return Err(format!(
            "`{option}` would lead pnpm past the gate; set it in the environment instead"
        ));
    }
    if NOT_GATED.contains(&sub.as_str()) {
        return Err(format!(
            "`pnpm {sub}` fetches programs that no registry serves; run it without the gate, or not at all"
        ));
    }
    let mut asked = Asked::default();
    let program = pnpm_of(command);
    let named = ["--dir", "--prefix"].iter().flat_map(|o| option_values(&args, o, Some("-C")));
    let folder = node::project(named.last());
    let (plain, led, store) = ask_three(&program, &folder)?;
    check_led(&led)?;
    read_config(&plain, &args, &mut asked);
    node::name_corepack(command, &mut asked);
    let own = own_version(&folder);
    asked.pins.extend(own.clone());
    let root = node::workspace(&folder, &["pnpm-workspace.yaml"]);
    let words = package_words(&args, &sub);
    read_words(&words, &folder, &mut asked);
    let named_versions: Vec<Purl> =
        asked.pins.iter().filter(|p| !own.contains(p)).cloned().collect();
    if !matches!(sub.as_str(), "dlx" | "create") {
        node::read_manifests(&root, &mut asked);
    }
    if matches!(sub.as_str(), "install" | "i" | "add" | "ci" | "dlx" | "install-test" | "it") {
        node::check_archives(&asked)?;
    }
    let lock = root.join("pnpm-lock.yaml");
    node::read_lock(&lock, Format::PnpmLock, &mut asked);
    if is_filled(&store) {
        // What lies in the store is taken without asking for it, and its hooks may run, or the
        // program itself: it is judged before that.
        let installs = ["install", "i", "ci", "clean-install", "install-test", "it"];
        if installs.contains(&sub.as_str()) && words.is_empty() && takes_all(&args) {
            let text = std::fs::read_to_string(&lock).unwrap_or_default();
            asked.ahead = for_any_machine(&text);
        }
        asked.ahead.extend(named_versions);
        asked.ahead_first = true;
    }
    let mut plan = plan(&program, &root, &plain, &args, store)?;
    if sub == "deploy" {
        // It lays out a copy in the folder that it is told last.
        plan.search.extend(args.iter().rfind(|a| !a.starts_with('-')).map(|a| folder.join(a)));
    }
    plan.shims = pnpm_shims::lines(&program, memory)?;
    if matches!(sub.as_str(), "dlx" | "create") {
        // Only what it lays out in the run's own folder is its work.
        plan.modules.clear();
        plan.search.clear();
        plan.expected = true;
    }
    node::set_plan(plan, &mut asked);
    Ok(asked)
}

/// The subcommand; `pnpx` is `pnpm dlx`.
fn subcommand(command: &Command) -> String {
    let name = command.program.first().map(|p| Path::new(p).file_name().map(OsStr::to_os_string));
    if name.flatten().is_some_and(|n| n == "pnpx" || n == "pnx") {
        return "dlx".to_owned();
    }
    command.subcommand().unwrap_or_default()
}

/// The pnpm that belongs to this pnpx.
fn pnpm_of(command: &Command) -> std::ffi::OsString {
    let program = node::program(command);
    let path = Path::new(&program);
    match path.file_name().and_then(|n| n.to_str()) {
        Some("pnpx") => path.with_file_name("pnpm").into_os_string(),
        _ => program,
    }
}

/// The version of itself that pnpm would fetch for the project (package.json, `packageManager`), in
/// both forms that it comes in.
fn own_version(folder: &Path) -> Vec<Purl> {
    let text = std::fs::read(folder.join("package.json")).unwrap_or_default();
    let json: Value = serde_json::from_slice(&text).unwrap_or_default();
    let named = json.get("packageManager").and_then(Value::as_str);
    let version = named.and_then(|n| n.strip_prefix("pnpm@")).map(|v| v.split('+').next());
    let version = version.flatten().filter(|v| !v.is_empty());
    let purl = |name| version.map(|v| Purl::new(Ecosystem::Npm, name, Some(v)));
    ["pnpm", "@pnpm/exe"].into_iter().filter_map(purl).collect()
}

/// The words that pnpm reads itself: those after what it runs are the program's.
fn own_words(args: &[String], sub: &str) -> Vec<String> {
    if matches!(sub, "dlx" | "exec" | "create" | "run" | "test" | "start") {
        return node::before_program(args, sub);
    }
    args.iter().take_while(|w| *w != "--").cloned().collect()
}

fn leads_away(word: &str) -> bool {
    let Some(name) = word.strip_prefix("--") else { return false };
    let name = name.split('=').next().unwrap_or(name);
    let name = name.strip_prefix("config.").unwrap_or(name).replace('-', "").to_ascii_lowercase();
    [
        "httpsproxy",
        "httpproxy",
        "proxy",
        "noproxy",
        "cafile",
        "ca",
        "cachedir",
        "configdir",
        "userconfig",
        "globalconfig",
        "npmrcauthfile",
        "strictssl",
        "nostrictssl",
        "localaddress",
    ]
    .contains(&name.as_str())
}

/// The packages that a command names.
fn package_words(args: &[String], sub: &str) -> Vec<String> {
    let taking = ["add", "install", "i", "update", "up", "upgrade", "dlx", "install-test", "it"];
    if !taking.contains(&sub) {
        return Vec::new();
    }
    let mut named = option_values(args, "--package", None);
    let mut words = args.iter().take_while(|w| *w != "--").filter(|w| *w != sub);
    let plain = words.by_ref().filter(|w| !w.starts_with('-'));
    if sub == "dlx" {
        if named.is_empty() {
            named.extend(plain.take(1).cloned());
        }
    } else {
        let values: Vec<String> =
            ["--dir", "-C", "--filter", "-F", "--store-dir", "--reporter", "--registry"]
                .iter()
                .flat_map(|o| option_values(args, o, None))
                .collect();
        named.extend(plain.filter(|w| !values.contains(w)).cloned());
    }
    named
}

/// pnpm's settings as they are, those that it would use behind the gate, and its store.
fn ask_three(program: &OsStr, folder: &Path) -> Result<(Value, Value, PathBuf), String> {
    let ask = |words: &[&str], env: &[(String, String)]| {
        let mut env = env.to_vec();
        env.extend(node::COREPACK.map(|(n, v)| (n.to_owned(), v.to_owned())));
        // Asking must not fetch the version that the project names.
        for name in ["manage_package_manager_versions", "package_manager_strict"] {
            for begin in ["npm_config", "pnpm_config"] {
                env.push((format!("{begin}_{name}"), "false".to_owned()));
            }
        }
        env.push(("pnpm_config_pm_on_fail".to_owned(), "ignore".to_owned()));
        probe::output_in(program, words, &env, folder)
    };
    let json = |text: String| {
        serde_json::from_str::<Value>(&text)
            .map_err(|e| format!("pnpm's configuration cannot be read: {e}"))
    };
    let list = ["config", "list", "--json"];
    std::thread::scope(|s| {
        let led = s.spawn(|| ask(&list, &settings(PLACEHOLDER, "/dev/null", "/dev/null/cache")));
        let store = s.spawn(|| ask(&["store", "path"], &[]));
        let plain = json(ask(&list, &[])?)?;
        let ended = |_| "pnpm could not be asked".to_owned();
        let led = json(led.join().map_err(ended)??)?;
        let store = store.join().map_err(ended)??;
        Ok((plain, led, PathBuf::from(store.trim())))
    })
}

/// The settings that lead pnpm to the gate. Old versions know the first spelling, new ones the other.
fn settings(proxy: &str, certificate: &str, cache: &str) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for begin in ["npm_config", "pnpm_config"] {
        for (name, value) in [
            ("https_proxy", proxy),
            ("http_proxy", proxy),
            ("proxy", proxy),
            ("noproxy", NOT_PROXIED),
            ("no_proxy", NOT_PROXIED),
            ("cafile", certificate),
            ("cache_dir", cache),
            ("update_notifier", "false"),
            ("fetch_timeout", "900000"),
        ] {
            out.push((format!("{begin}_{name}"), value.to_owned()));
        }
    }
    out
}

/// A setting in any of its spellings.
fn setting<'v>(config: &'v Value, name: &str) -> Option<&'v str> {
    let plain = |k: &str| k.replace(['-', '_'], "").to_ascii_lowercase();
    let map = config.as_object()?;
    map.iter().find(|(k, _)| plain(k) == name).and_then(|(_, v)| v.as_str())
}

fn check_led(led: &Value) -> Result<(), String> {
    for (name, want) in [
        ("httpsproxy", PLACEHOLDER),
        ("httpproxy", PLACEHOLDER),
        ("proxy", PLACEHOLDER),
        ("noproxy", NOT_PROXIED),
        ("cachedir", "/dev/null/cache"),
    ] {
        let map = led.as_object().into_iter().flatten();
        let plain = |k: &str| k.replace(['-', '_'], "").to_ascii_lowercase();
        for (key, value) in map.filter(|(k, _)| plain(k) == name) {
            must_be("pnpm", key, value.as_str(), want)?;
        }
    }
    Ok(())
}

/// Registries and scopes. pnpm lists registries under names of their own as well.
fn read_config(config: &Value, args: &[String], asked: &mut Asked) {
    for address in option_values(args, "--registry", None) {
        add_registry(asked, &address);
    }
    for address in option_values(args, "--config.registry", None) {
        add_registry(asked, &address);
    }
    let map = config.as_object();
    if let Some(address) = config.get("registry").and_then(Value::as_str) {
        add_registry(asked, address);
    }
    for (key, value) in map.into_iter().flatten() {
        if let (Some(scope), Some(address)) = (key.strip_suffix(":registry"), value.as_str()) {
            asked.scopes.insert(scope.to_owned(), address.to_owned());
            add_bound_registry(asked, address);
        }
    }
    for word in args {
        // `--@scope:registry=…` and `--config.@scope:registry=…`.
        if let Some((key, address)) = word.split_once('=')
            && let Some(scope) = key.strip_prefix("--").and_then(|k| k.strip_suffix(":registry"))
        {
            let scope = scope.strip_prefix("config.").unwrap_or(scope);
            asked.scopes.insert(scope.to_owned(), address.to_owned());
            add_bound_registry(asked, address);
        }
    }
    for (address, about) in
        config.get("registries").and_then(Value::as_object).into_iter().flatten()
    {
        if address.starts_with("http") {
            add_bound_registry(asked, address);
            for scope in about.get("scopes").and_then(Value::as_array).into_iter().flatten() {
                let scope = scope.as_str().filter(|s| s.len() > 1);
                asked.scopes.extend(scope.map(|s| (s.to_owned(), address.clone())));
            }
        } else if let Some(found) = about.as_str() {
            add_bound_registry(asked, found);
        }
    }
    asked.roots.extend(setting(config, "cafile").map(PathBuf::from));
}

/// Where pnpm lays out what it installs.
fn plan(
    program: &OsStr,
    root: &Path,
    config: &Value,
    args: &[String],
    store: PathBuf,
) -> Result<NpmPlan, String> {
    let given = |option: &str, name: &str| {
        let named = option_values(args, option, None).pop();
        named
            .or_else(|| option_values(args, &option.replacen("--", "--config.", 1), None).pop())
            .or_else(|| setting(config, name).map(str::to_owned))
    };
    let mut modules = vec![root.join("node_modules")];
    let mut stores = vec![store.clone()];
    // The store of an option is another one than that of the configuration.
    stores.extend(given("--store-dir", "storedir").map(|s| root.join(s)));
    stores.extend(given("--virtual-store-dir", "virtualstoredir").map(|s| root.join(s)));
    modules.extend(given("--modules-dir", "modulesdir").map(|s| root.join(s)));
    let mut search = vec![root.to_path_buf()];
    if args.iter().any(|a| matches!(a.as_str(), "-g" | "--global")) {
        let global = probe::output_in(program, &["root", "-g"], &[], root)?;
        let global = PathBuf::from(global.trim());
        // Each global package has a folder of its own beside that one in some versions.
        search.extend(global.parent().map(Path::to_path_buf));
        modules.push(global);
    }
    Ok(NpmPlan {
        root: root.to_path_buf(),
        modules,
        search,
        search_in_run: vec![PathBuf::from("pnpm-cache")],
        stores,
        late: true,
        ..NpmPlan::default()
    })
}

/// Whether a store holds contents.
fn is_filled(store: &Path) -> bool {
    std::fs::read_dir(store.join("files")).is_ok_and(|mut d| d.next().is_some())
}

/// Whether everything that the lock file names is installed.
fn takes_all(args: &[String]) -> bool {
    let part = ["-P", "--prod", "--production", "-D", "--dev", "--no-optional", "--filter", "-F"];
    std::env::var_os("NODE_ENV").is_none_or(|v| v != "production")
        && !args.iter().any(|a| part.iter().any(|p| a == p || a.starts_with(&format!("{p}="))))
}

/// The packages of a lock file (versions 6 to 9) but those for one kind of machine.
fn for_any_machine(lock: &str) -> Vec<Purl> {
    let mut all: BTreeMap<String, bool> = BTreeMap::new();
    let mut current = None;
    let body = lock.lines().skip_while(|l| *l != "packages:").skip(1);
    for line in body.take_while(|l| l.is_empty() || l.starts_with(' ')) {
        let depth = line.len() - line.trim_start().len();
        let text = line.trim();
        if depth == 2 {
            let key = text.trim_end_matches(':').trim_matches(['\'', '"']);
            let key = key.trim_start_matches('/').split('(').next().unwrap_or(key);
            current = Some(key.to_owned());
            all.insert(key.to_owned(), true);
        } else if let Some(key) = &current
            && ["os:", "cpu:", "libc:"].iter().any(|p| text.starts_with(p))
        {
            all.insert(key.clone(), false);
        }
    }
    all.into_iter()
        .filter(|(_, any)| *any)
        .filter_map(|(key, _)| {
            let (name, version) = key.rsplit_once('@').filter(|(n, _)| !n.is_empty())?;
            countersign_ecosystem::npm::validate_name(name)
                .then(|| Purl::new(Ecosystem::Npm, name, Some(version)))
        })
        .collect()
}

/// Leads pnpm to the gate.
pub fn equip(
    _command: &Command,
    _asked: &Asked,
    gate: &Gate<'_>,
    e: &mut Equipment,
) -> Result<(), String> {
    node::equip(e);
    node::without_general_proxies(e);
    let certificate = gate.certificate.display().to_string();
    // What `dlx` installs lies there as well; what pnpm knows of packages without asking is none of
    // what the gate let through.
    let cache = gate.folder.join("pnpm-cache").display().to_string();
    for (name, value) in settings(gate.proxy, &certificate, &cache) {
        e.set(&name, value);
    }
    // To pnpm 11 and later, `cafile` is one more authority; this takes the place of the system's.
    e.set("SSL_CERT_FILE", gate.certificate);
    e.remove.push("SSL_CERT_DIR".to_owned());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_lead_away_are_known_in_their_spellings() {
        for word in
            ["--https-proxy=x", "--config.httpsProxy=x", "--config.no-proxy=x", "--cache-dir"]
        {
            assert!(leads_away(word), "{word}");
        }
        for word in ["--prod", "--prefer-offline", "-C", "--config.node-linker=hoisted", "proxy"] {
            assert!(!leads_away(word), "{word}");
        }
    }

    #[test]
    fn what_a_program_is_told_is_not_pnpms() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        for (text, sub, want) in [
            ("dlx cowsay --proxy x", "dlx", 2),
            ("dlx --proxy x cowsay", "dlx", 4),
            ("add a --proxy x", "add", 4),
            ("add a -- --proxy x", "add", 2),
        ] {
            assert_eq!(own_words(&words(text), sub).len(), want, "{text}");
        }
    }

    #[test]
    fn a_lock_file_gives_what_any_machine_needs() {
        let lock = "lockfileVersion: '9.0'\n\npackages:\n\n  '@s/a@1.0.0':\n    resolution: {integrity: sha512-x}\n\n  b@2.0.0:\n    resolution: {integrity: sha512-x}\n    os: [linux]\n\n  /c@3.0.0(d@1.0.0):\n    resolution: {}\n\nsnapshots:\n\n  d@9.0.0: {}\n";
        let all: Vec<_> = for_any_machine(lock).iter().map(Purl::label).collect();
        assert_eq!(all, ["@s/a 1.0.0", "c 3.0.0"]);
    }
}
