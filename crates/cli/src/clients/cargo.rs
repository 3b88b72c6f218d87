//! cargo: its configuration files name its registries; a dry start shows the built-in one.

use super::{Asked, Command, Equipment, Gate, Seed, option_values, probe};
use countersign_core::{Algorithm, Ecosystem, ExpectedDigest, Purl};
use countersign_ecosystem::cargo;
use countersign_engine::account::{CargoPlan, Plan};
use countersign_engine::local::CachedFile;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Asks cargo.
pub fn ask(command: &Command, memory: &mut dyn probe::Memory) -> Result<Asked, String> {
    let args = command.texts();
    let mut asked = Asked::default();
    for value in option_values(&args, "--config", None) {
        let (table, file) = read_option(&value)?;
        if let Some(http) = table.get("http").and_then(|h| h.as_table())
            && let Some(key) = ["proxy", "cainfo"].into_iter().find(|k| http.contains_key(*k))
        {
            return Err(format!(
                "`--config {value}` sets http.{key}, which would lead cargo past the gate; leave it out"
            ));
        }
        if table.get("net").is_some_and(|n| n.get("git-fetch-with-cli").is_some()) {
            return Err(format!(
                "`--config {value}` sets net.git-fetch-with-cli, which would lead git past the gate; \
                 leave it out"
            ));
        }
        if table.contains_key("include") {
            return Err(format!(
                "`--config {value}` includes other files, which the gate does not follow; name them one by one"
            ));
        }
        read_config(&table, &file, &mut asked);
    }
    let program = command.program.first().cloned().unwrap_or_default();
    let home = cargo_home();
    let mut replaced = false;
    for file in config_files(&home) {
        let Ok(text) = std::fs::read_to_string(&file) else { continue };
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            // The line itself may hold a token.
            format!("`{}` cannot be read: {}", file.display(), e.message())
        })?;
        replaced |= read_config(&table, &file, &mut asked);
    }
    for (name, value) in std::env::vars() {
        if name.starts_with("CARGO_REGISTRIES_") && name.ends_with("_INDEX") {
            asked.upstreams.push(Seed {
                ecosystem: Ecosystem::Cargo,
                address: value,
                keyring: None,
                explicit: false,
            });
        }
    }
    for index in option_values(&args, "--index", None) {
        asked.upstreams.push(Seed {
            ecosystem: Ecosystem::Cargo,
            address: index,
            keyring: None,
            explicit: false,
        });
    }
    if !replaced {
        let address = builtin_registry(&program, memory)?;
        asked.upstreams.push(Seed {
            ecosystem: Ecosystem::Cargo,
            address,
            keyring: None,
            explicit: false,
        });
    }
    name_git_indexes(&mut asked);
    let installing = command.subcommand().as_deref() == Some("install");
    if installing {
        read_install(&args, &mut asked);
        asked.account = Plan::Cargo(CargoPlan { lock: None, home: None });
        return Ok(asked);
    }
    let lock = lock_file(&program, &args);
    let manifest = lock.as_ref().map(|l| l.with_file_name("Cargo.toml"));
    let manifests = option_values(&args, "--manifest-path", None).into_iter().map(PathBuf::from);
    for file in manifests.chain(manifest).chain([PathBuf::from("Cargo.toml")]) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Ok(table) = text.parse::<toml::Table>() {
            name_git_dependencies(&toml::Value::Table(table), 0, &mut asked);
        }
    }
    if let Some(text) = lock.as_ref().and_then(|l| std::fs::read_to_string(l).ok()) {
        read_lock(&text, &home, &mut asked);
    }
    asked.account = Plan::Cargo(CargoPlan { lock, home: Some(home) });
    Ok(asked)
}

/// What `--config` says: a file, or TOML on the command line (cargo reference, "command-line
/// overrides").
fn read_option(value: &str) -> Result<(toml::Table, PathBuf), String> {
    let path = PathBuf::from(value);
    let text = if path.is_file() {
        std::fs::read_to_string(&path).map_err(|e| format!("`{value}` cannot be read: {e}"))?
    } else {
        value.to_owned()
    };
    let table =
        text.parse().map_err(|e| format!("`--config {value}` is neither a file nor TOML: {e}"))?;
    Ok((table, path))
}

fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_else(|| {
        std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(".cargo")
    })
}

/// Cargo's configuration files, nearest first (cargo reference, "hierarchical structure").
fn config_files(home: &Path) -> Vec<PathBuf> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let mut out: Vec<PathBuf> = here
        .ancestors()
        .flat_map(|d| [d.join(".cargo/config.toml"), d.join(".cargo/config")])
        .chain([home.join("config.toml"), home.join("config")])
        .filter(|p| p.is_file())
        .collect();
    out.dedup();
    out
}

/// Reads registries and sources; true when the built-in registry is replaced.
fn read_config(table: &toml::Table, file: &Path, asked: &mut Asked) -> bool {
    let mut replaced = false;
    let text = |t: &toml::Value, key: &str| t.get(key).and_then(|v| v.as_str()).map(str::to_owned);
    for (section, key) in [("registries", "index"), ("source", "registry")] {
        let Some(map) = table.get(section).and_then(|s| s.as_table()) else { continue };
        for (name, value) in map {
            if let Some(address) = text(value, key) {
                asked.upstreams.push(Seed {
                    ecosystem: Ecosystem::Cargo,
                    address,
                    keyring: None,
                    explicit: false,
                });
            }
            if section == "source" && name == "crates-io" && value.get("replace-with").is_some() {
                replaced = true;
            }
            for local in ["directory", "local-registry"] {
                if let Some(path) = text(value, local) {
                    asked.doors.push((
                        format!("source.{name}.{local} = {path}"),
                        "a folder of crates, which no registry vouches for; they are not judged"
                            .to_owned(),
                        false,
                    ));
                }
            }
        }
    }
    if let Some(path) = table.get("http").and_then(|h| text(h, "cainfo")) {
        asked.roots.push(file.parent().unwrap_or(Path::new(".")).join(path));
    }
    replaced
}

/// Registries over git cannot be led through the gate: they are named, and stay closed.
fn name_git_indexes(asked: &mut Asked) {
    let (open, git): (Vec<Seed>, Vec<Seed>) = asked
        .upstreams
        .drain(..)
        .partition(|s| s.address.starts_with("sparse+") || s.address.ends_with('/'));
    asked.upstreams = open;
    for seed in git {
        asked.doors.push((
            countersign_engine::shown_address(&seed.address),
            "a registry over git; use its sparse index".to_owned(),
            false,
        ));
    }
}

fn read_install(args: &[String], asked: &mut Asked) {
    let versions =
        [option_values(args, "--version", None), option_values(args, "--vers", None)].concat();
    let mut words =
        args.iter().filter(|a| !a.starts_with('-') && !a.starts_with('+') && *a != "install");
    if let (Some(name), Some(version)) = (words.next(), versions.first()) {
        asked.pins.push(Purl::new(Ecosystem::Cargo, name, Some(version.trim_start_matches('='))));
    }
    for word in args {
        if let Some((name, version)) = word.split_once('@') {
            asked.pins.push(Purl::new(Ecosystem::Cargo, name, Some(version)));
        }
    }
    if !option_values(args, "--git", None).is_empty() {
        asked.doors.push((
            option_values(args, "--git", None)
                .iter()
                .map(|g| countersign_engine::shown_address(g))
                .collect(),
            "a git repository, known to no registry".to_owned(),
            true,
        ));
    }
}

fn lock_file(program: &OsStr, args: &[String]) -> Option<PathBuf> {
    let mut words = vec!["locate-project", "--workspace", "--message-format", "plain"];
    let manifest = option_values(args, "--manifest-path", None).pop();
    if let Some(m) = &manifest {
        words.extend(["--manifest-path", m]);
    }
    let found = probe::output(program, &words).ok()?;
    Some(Path::new(found.trim()).with_file_name("Cargo.lock"))
}

/// Names the git repositories of a manifest's dependencies, wherever in it they stand.
fn name_git_dependencies(value: &toml::Value, depth: usize, asked: &mut Asked) {
    let Some(table) = value.as_table().filter(|_| depth < 8) else { return };
    if let Some(address) = table.get("git").and_then(|g| g.as_str()) {
        let shown = countersign_engine::shown_address(address);
        if !asked.doors.iter().any(|d| d.0 == shown) {
            let why = "a git dependency, known to no registry";
            asked.doors.push((shown, why.to_owned(), true));
        }
    }
    for inner in table.values() {
        name_git_dependencies(inner, depth + 1, asked);
    }
}

/// Pins, side doors and cached crates of a lock file.
fn read_lock(text: &str, home: &Path, asked: &mut Asked) {
    let Ok(crates) = cargo::parse_lock(text) else { return };
    let caches: Vec<PathBuf> = std::fs::read_dir(home.join("registry/cache"))
        .map(|d| d.filter_map(|e| e.ok().map(|e| e.path())).collect())
        .unwrap_or_default();
    for c in crates {
        let Some(source) = &c.source else { continue };
        let purl = Purl::new(Ecosystem::Cargo, &c.name, Some(&c.version));
        if source.starts_with("git+") {
            asked.doors.push((
                format!("{} from {}", c.name, countersign_engine::shown_address(source)),
                "a git dependency, known to no registry".to_owned(),
                true,
            ));
            continue;
        }
        if let Some(checksum) = c.checksum {
            let digest = ExpectedDigest::from_bytes(Algorithm::Sha256, checksum.0.to_vec());
            asked.locked.entry(purl.clone()).or_default().extend(digest);
        }
        let file = format!("{}-{}.crate", c.name, c.version);
        if let Some(checksum) = c.checksum {
            // Which of several caches cargo takes it from is not known: all are judged.
            for path in caches.iter().map(|d| d.join(&file)).filter(|p| p.is_file()) {
                asked.cached.push(CachedFile {
                    purl: purl.clone(),
                    file_name: file.clone(),
                    checksum,
                    path,
                });
            }
        }
        asked.pins.push(purl);
    }
}

/// Cargo's built-in registry, found by starting cargo with no configuration behind a proxy that
/// answers nothing, and looking where it wants to go.
fn builtin_registry(program: &OsStr, memory: &mut dyn probe::Memory) -> Result<String, String> {
    let path = probe::which(program)
        .ok_or_else(|| format!("`{}` is not installed", program.to_string_lossy()))?;
    let key = format!("cargo-default-registry {}", probe::identity(&path));
    if let Some(known) = memory.get(&key) {
        return Ok(known);
    }
    let address =
        watch_cargo(&path).map_err(|e| format!("cargo cannot be asked for its registry: {e}"))?;
    let address = address.ok_or("cargo does not say which registry it uses by default")?;
    memory.put(&key, &address);
    Ok(address)
}

fn watch_cargo(program: &Path) -> std::io::Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir_all(folder.path().join("src"))?;
    std::fs::write(folder.path().join("src/lib.rs"), "")?;
    std::fs::write(
        folder.path().join("Cargo.toml"),
        "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[dependencies]\na = \"*\"\n[workspace]\n",
    )?;
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let mut command = std::process::Command::new(program);
    command
        .args(["fetch", "--manifest-path"])
        .arg(folder.path().join("Cargo.toml"))
        .current_dir("/")
        .env("CARGO_HOME", folder.path().join("home"));
    for (name, _) in std::env::vars() {
        if name.starts_with("CARGO_REGISTR")
            || name.starts_with("CARGO_SOURCE")
            || name.starts_with("CARGO_HTTP")
        {
            command.env_remove(name);
        }
    }
    for name in ["NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    let mut child = command
        .env("CARGO_HTTP_PROXY", format!("http://{}", listener.local_addr()?))
        .env("CARGO_NET_RETRY", "0")
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
                if let Some(host) = line.strip_prefix("CONNECT ").and_then(|r| r.split(' ').next())
                {
                    found = Some(format!("sparse+https://{}/", host.trim_end_matches(":443")));
                }
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

/// Leads cargo to the gate.
pub fn equip(command: &Command, gate: &Gate<'_>, e: &mut Equipment) -> Result<(), String> {
    e.set("CARGO_HTTP_PROXY", gate.proxy);
    e.set("CARGO_HTTP_CAINFO", gate.certificate);
    e.set("CARGO_HTTP_TIMEOUT", "900");
    // Cargo's own git would not heed what closes the program's transports.
    e.set("CARGO_NET_GIT_FETCH_WITH_CLI", "true");
    e.set("CARGO_HTTP_LOW_SPEED_LIMIT", "0");
    if command.subcommand().as_deref() == Some("install") {
        private_home(gate, e).map_err(|e| format!("a folder for cargo cannot be made: {e}"))?;
    }
    Ok(())
}

/// `cargo install` keeps no lock file to reconcile with: it gets an empty registry cache, so that
/// every crate passes the gate, and everything else of the user's cargo home.
fn private_home(gate: &Gate<'_>, e: &mut Equipment) -> std::io::Result<()> {
    let real = cargo_home();
    let own = gate.folder.join("cargo-home");
    std::fs::create_dir_all(&own)?;
    for name in ["config.toml", "config", "credentials.toml", "credentials"] {
        if real.join(name).exists() {
            std::os::unix::fs::symlink(real.join(name), own.join(name))?;
        }
    }
    if std::env::var_os("CARGO_INSTALL_ROOT").is_none() {
        e.set("CARGO_INSTALL_ROOT", &real);
    }
    e.set("CARGO_HOME", &own);
    Ok(())
}
