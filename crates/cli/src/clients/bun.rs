//! bun: it shows no configuration, so that its files are read; the built-in registry is seen where it
//! wants to go.

use super::node::{self, NOT_PROXIED, add_registry, read_words};
use super::{Asked, Command, Equipment, Gate, option_values, probe};
use countersign_ecosystem::inventory::Format;
use countersign_engine::account::NpmPlan;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[
    "install", "i", "add", "a", "update", "remove", "rm", "x", "create", "c", "run", "pm", "ci",
    "link", "unlink", "outdated", "audit", "patch", "publish", "upgrade", "exec", "test", "build",
    "init", "info", "why", "dedupe", "prune", "repl",
];

/// Asks bun for its registries, and reads which versions are named.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    let args = command.texts();
    let sub = subcommand(command);
    if let Some(option) = own_words(&args, &sub).into_iter().find(|a| leads_away(a)) {
        return Err(format!(
            "`{option}` would lead bun past the gate; set it in the environment instead"
        ));
    }
    if sub == "upgrade" {
        return Err("`bun upgrade` fetches a program that no registry serves; run it without the gate, or not at all".to_owned());
    }
    let mut asked = Asked::default();
    let folder = node::project(option_values(&args, "--cwd", None).pop());
    let root = node::workspace(&folder, &["bun.lock", "bun.lockb"]);
    // What `bun x` installs is no part of the project, whose files it does not read for that.
    let files = if is_bunx(&sub) { Vec::new() } else { vec![folder.clone(), root.clone()] };
    let settings = Settings { folder: &folder, files: &files, args: &args };
    settings.read(&mut asked)?;
    if settings.defaults().is_empty() {
        let address = builtin_registry(&node::program(command), memory)?;
        add_registry(&mut asked, &address);
        // Where a name without a scope comes from stands first.
        asked.upstreams.rotate_right(1);
    }
    let words = package_words(&args, &sub);
    read_words(&words, &folder, &mut asked);
    if !is_bunx(&sub) {
        node::read_manifests(&root, &mut asked);
    }
    if matches!(sub.as_str(), "install" | "i" | "add" | "a" | "x" | "ci") {
        node::check_archives(&asked)?;
    }
    node::read_lock(&root.join("bun.lock"), Format::BunLock, &mut asked);
    let mut plan = NpmPlan { root: root.clone(), ..NpmPlan::default() };
    if is_bunx(&sub) {
        // By version in the cache or in the temporary folder, below one for each user.
        let user = rustix::process::geteuid().as_raw();
        plan.search_in_run.push(PathBuf::from(format!("bun-cache/.bunx-{user}")));
        plan.search_in_run.push(PathBuf::from("bun-tmp"));
        plan.expected = true;
    } else {
        plan.search.push(root.clone());
    }
    if args.iter().any(|a| a == "-g" || a == "--global") {
        plan.modules.extend(global_folder().map(|g| g.join("node_modules")));
        plan.expected = true;
    }
    node::set_plan(plan, &mut asked);
    Ok(asked)
}

/// The subcommand; `bunx` is `bun x`.
fn subcommand(command: &Command) -> String {
    let name = node::program(command);
    match Path::new(&name).file_name().and_then(|n| n.to_str()) {
        Some("bunx") => "x".to_owned(),
        _ => command.subcommand().unwrap_or_default(),
    }
}

/// `bun create thing` is `bun x create-thing`.
fn is_bunx(sub: &str) -> bool {
    matches!(sub, "x" | "create" | "c")
}

/// The words that bun reads itself: those after what it runs are the program's.
fn own_words(args: &[String], sub: &str) -> Vec<String> {
    if matches!(sub, "x" | "create" | "c" | "run" | "exec" | "test") {
        return node::before_program(args, sub);
    }
    args.iter().take_while(|w| *w != "--").cloned().collect()
}

fn leads_away(word: &str) -> bool {
    let Some(name) = word.strip_prefix("--") else { return word.starts_with("-c") };
    let name = name.split('=').next().unwrap_or(name);
    matches!(
        name,
        "ca" | "cafile"
            | "cache-dir"
            | "offline"
            | "no-verify"
            | "config"
            | "env-file"
            | "backend"
            | "use-system-ca"
            | "use-openssl-ca"
            | "use-bundled-ca"
    )
}

/// The packages that a command names.
fn package_words(args: &[String], sub: &str) -> Vec<String> {
    let values: Vec<String> =
        ["--registry", "--cwd", "--filter", "-F", "--linker", "--omit", "--minimum-release-age"]
            .iter()
            .flat_map(|o| option_values(args, o, None))
            .collect();
    let words = args.iter().take_while(|w| *w != "--").filter(|w| !w.starts_with('-'));
    let words = words.filter(|w| *w != sub && !values.contains(w)).cloned();
    match sub {
        "add" | "a" | "install" | "i" | "update" => words.collect(),
        "x" => {
            let named = option_values(args, "--package", Some("-p"));
            if named.is_empty() { words.take(1).collect() } else { named }
        }
        _ => Vec::new(),
    }
}

fn home_file(name: &str) -> Option<PathBuf> {
    std::env::var_os("HOME").map(|h| PathBuf::from(h).join(name))
}

/// The folder of what bun installs for the user (bun documentation, `bun add --global`).
fn global_folder() -> Option<PathBuf> {
    std::env::var_os("BUN_INSTALL_GLOBAL_DIR").map(PathBuf::from).or_else(|| {
        let own = std::env::var_os("BUN_INSTALL").map(PathBuf::from);
        own.or_else(|| home_file(".bun")).map(|b| b.join("install/global"))
    })
}

/// Where bun's settings stand.
struct Settings<'s> {
    /// The folder that bun works in, whose `.env` files it reads.
    folder: &'s Path,
    /// The project's folders whose settings apply.
    files: &'s [PathBuf],
    /// The command's arguments.
    args: &'s [String],
}

impl Settings<'_> {
    /// The files of bun's own settings that apply, nearest first.
    fn bunfigs(&self) -> Vec<PathBuf> {
        let mut out: Vec<_> = self.files.iter().map(|f| f.join("bunfig.toml")).collect();
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        out.extend(config.map(|c| c.join(".bunfig.toml")));
        out.extend(home_file(".bunfig.toml"));
        out.dedup();
        out
    }

    fn npmrcs(&self) -> Vec<PathBuf> {
        let mut out: Vec<_> = self.files.iter().map(|f| f.join(".npmrc")).collect();
        out.extend(home_file(".npmrc"));
        out.dedup();
        out
    }

    /// Addresses of registries, in the order in which bun asks for them.
    fn defaults(&self) -> Vec<String> {
        let mut out = option_values(self.args, "--registry", None);
        out.extend(variables(self.folder).into_iter().map(|(_, v)| v));
        for file in self.bunfigs() {
            if let Some(install) = install_table(&file) {
                out.extend(install.get("registry").and_then(address));
            }
        }
        for file in self.npmrcs() {
            let pairs = rc_pairs(&file).into_iter();
            out.extend(pairs.filter(|(k, _)| k == "registry").map(|(_, v)| v));
        }
        out
    }

    /// Reads registries, scopes and certificates.
    fn read(&self, asked: &mut Asked) -> Result<(), String> {
        for address in self.defaults() {
            add_registry(asked, &address);
        }
        let mut scopes = Vec::new();
        let mut roots = Vec::new();
        for file in self.bunfigs() {
            let Some(install) = install_table(&file) else {
                if file.is_file() && !readable(&file) {
                    return Err(format!("`{}` cannot be read", file.display()));
                }
                continue;
            };
            let table = install.get("scopes").and_then(|s| s.as_table());
            let named = table.into_iter().flatten();
            scopes.extend(named.filter_map(|(name, value)| Some((name.clone(), address(value)?))));
            roots.extend(install.get("cafile").and_then(|c| c.as_str()).map(PathBuf::from));
        }
        for (key, value) in self.npmrcs().iter().flat_map(|f| rc_pairs(f)) {
            if let Some(name) = key.strip_suffix(":registry").filter(|k| k.starts_with('@')) {
                scopes.push((name.to_owned(), value));
            } else if key == "cafile" {
                roots.push(PathBuf::from(value));
            }
        }
        for (name, address) in scopes {
            add_registry(asked, &address);
            let name = format!("@{}", name.trim_start_matches('@'));
            asked.scopes.entry(name).or_insert(address);
        }
        // Those that are not there make bun stop by itself.
        asked.roots.extend(roots.into_iter().filter(|r| r.is_file()));
        Ok(())
    }
}

/// Variables that name a registry, of the environment and of the files that bun reads into it.
fn variables(folder: &Path) -> Vec<(String, String)> {
    let known = |n: &str| {
        matches!(n, "BUN_CONFIG_REGISTRY" | "NPM_CONFIG_REGISTRY" | "npm_config_registry")
    };
    let mut out: Vec<(String, String)> = std::env::vars().filter(|(n, _)| known(n)).collect();
    for name in [".env.local", ".env.development", ".env.production", ".env.test", ".env"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        for line in text.lines() {
            let line = line.trim().trim_start_matches("export ");
            if let Some((name, value)) = line.split_once('=').filter(|(n, _)| known(n.trim())) {
                let value = value.trim().trim_matches(['"', '\'', '`']);
                out.push((name.trim().to_owned(), value.to_owned()));
            }
        }
    }
    out
}

fn install_table(file: &Path) -> Option<toml::Table> {
    let table: toml::Table = toml::from_str(&std::fs::read_to_string(file).ok()?).ok()?;
    table.get("install").and_then(|i| i.as_table()).cloned()
}

/// A registry as bunfig.toml writes it: an address, or a table with one.
fn address(value: &toml::Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("url").and_then(|u| u.as_str()));
    text.map(expanded)
}

/// `$NAME` and `${NAME}` replaced from the environment.
fn expanded(text: &str) -> String {
    let mut out = text.to_owned();
    for (name, value) in std::env::vars() {
        if out.contains('$') {
            out = out.replace(&format!("${{{name}}}"), &value);
            if out == format!("${name}") {
                out = value;
            }
        }
    }
    out
}

fn rc_pairs(file: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().filter(|l| !l.trim_start().starts_with(['#', ';']));
    lines
        .filter_map(|l| l.split_once('='))
        .map(|(k, v)| (k.trim().to_owned(), expanded(v.trim().trim_matches(['"', '\'']))))
        .collect()
}

fn readable(file: &Path) -> bool {
    std::fs::read_to_string(file).is_ok_and(|t| toml::from_str::<toml::Table>(&t).is_ok())
}

/// bun's built-in registry, found by starting bun with no configuration behind a proxy that answers
/// nothing, and looking where it wants to go.
fn builtin_registry(
    program: &std::ffi::OsStr,
    memory: &mut dyn probe::Memory,
) -> Result<String, String> {
    let path = probe::which(program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    // `bunx` is the same program under another name.
    let bun = path.with_file_name("bun");
    let path =
        if path.file_name().is_some_and(|n| n == "bunx") && bun.is_file() { bun } else { path };
    let key = format!("bun-default-registry {}", probe::identity(&path));
    if let Some(known) = memory.get(&key) {
        return Ok(known);
    }
    let address = watch(&path).map_err(|e| format!("bun cannot be asked for its registry: {e}"))?;
    let address = address.ok_or("bun does not say which registry it uses by default")?;
    memory.put(&key, &address);
    Ok(address)
}

fn watch(program: &Path) -> std::io::Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("package.json"), "{}")?;
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let proxy = format!("http://{}", listener.local_addr()?);
    let mut command = std::process::Command::new(std::path::absolute(program)?);
    command.args(["add", "a"]).current_dir(folder.path());
    for (name, _) in std::env::vars_os() {
        let lower = name.to_string_lossy().to_ascii_lowercase();
        if lower.starts_with("bun_") || lower.starts_with("npm_config_") || lower.contains("proxy")
        {
            command.env_remove(name);
        }
    }
    let mut child = command
        .envs(["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map(|n| (n, &proxy)))
        .env("NO_PROXY", NOT_PROXIED)
        .env("HOME", folder.path())
        .env("XDG_CONFIG_HOME", folder.path())
        .env("BUN_INSTALL_CACHE_DIR", folder.path().join("cache"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let end = Instant::now() + Duration::from_secs(20);
    let mut found = None;
    while found.is_none() && Instant::now() < end {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line)?;
                let host = line.strip_prefix("CONNECT ").and_then(|r| r.split(' ').next());
                found = host.map(|h| format!("https://{}/", h.trim_end_matches(":443")));
                (&stream).write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                if child.try_wait()?.is_some() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(e),
        }
    }
    let _ = child.kill();
    child.wait()?;
    Ok(found)
}

/// Leads bun to the gate.
pub fn equip(
    command: &Command,
    _asked: &Asked,
    gate: &Gate<'_>,
    e: &mut Equipment,
) -> Result<(), String> {
    node::equip(e);
    // It has no proxy setting of its own.
    for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
        e.set(name, gate.proxy);
        e.set(&name.to_ascii_lowercase(), gate.proxy);
    }
    e.remove.push("ALL_PROXY".to_owned());
    e.remove.push("all_proxy".to_owned());
    e.set("NODE_EXTRA_CA_CERTS", gate.certificate);
    e.set("BUN_INSTALL_CACHE_DIR", gate.folder.join("bun-cache"));
    let folder = gate.folder.join("bun-tmp");
    std::fs::create_dir_all(&folder).map_err(|e| format!("`{}`: {e}", folder.display()))?;
    e.set("BUN_TMPDIR", &folder);
    if is_bunx(&subcommand(command)) {
        // What `bun x` installs has to be there when it ends, and where the gate looks.
        e.set("TMPDIR", &folder);
    } else if takes_certificates(&subcommand(command)) {
        // The only authority for this run; the variable above adds one.
        e.before.push(format!("--cafile={}", gate.certificate.display()).into());
    }
    Ok(())
}

fn takes_certificates(sub: &str) -> bool {
    matches!(sub, "install" | "i" | "add" | "a" | "update" | "remove" | "rm" | "ci" | "outdated")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_among_a_commands_words() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        for (text, sub, want) in [
            ("add -d a b@1 --registry http://r.example", "add", "a b@1"),
            ("x cowsay hi", "x", "cowsay"),
            ("x -p a b", "x", "a"),
            ("install", "install", ""),
        ] {
            assert_eq!(package_words(&words(text), sub).join(" "), want, "{text}");
        }
        assert_eq!(own_words(&words("x cowsay --cafile=x"), "x").len(), 2);
        assert!(leads_away("--cafile=x") && leads_away("-c=x") && !leads_away("--dev"));
    }

    #[test]
    fn registries_are_read_from_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |n: &str| folder.path().join(n);
        std::fs::write(
            at("bunfig.toml"),
            "[install]\nregistry = { url = \"https://a.example/\", token = \"t\" }\n[install.scopes]\nacme = \"https://b.example/\"\n",
        )
        .unwrap();
        std::fs::write(
            at(".npmrc"),
            "# x\nregistry=https://c.example/\n@s:registry = https://d.example/\n",
        )
        .unwrap();
        std::fs::write(at(".env"), "export BUN_CONFIG_REGISTRY=\"https://e.example/\"\n").unwrap();
        let mut asked = Asked::default();
        let files = [folder.path().to_path_buf()];
        let settings = Settings { folder: folder.path(), files: &files, args: &[] };
        settings.read(&mut asked).unwrap();
        let all: Vec<_> = asked.upstreams.iter().map(|u| u.address.as_str()).collect();
        for want in ["a", "b", "c", "d", "e"] {
            assert!(all.contains(&format!("https://{want}.example/").as_str()), "{want}: {all:?}");
        }
        assert_eq!(asked.scopes["@acme"], "https://b.example/");
    }
}
