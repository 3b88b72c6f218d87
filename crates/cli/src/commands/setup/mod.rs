//! `countersign setup`: the gate before the package managers of this user.

mod apply;
mod block;
mod gateway;
mod lines;
mod shells;
mod shims;
pub mod survey;

use crate::clients::probe;
use crate::context::{Context, Failed};
use crate::print;
use apply::{Change, Keeper};
use clap::Args;
use gateway::{Gateway, Home};
use lines::{Notation, Piece};
use shells::{Shell, Startup};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use url::Url;

/// `setup`.
#[derive(Args, Clone)]
#[command(after_help = concat!(
    "Without --gateway, small scripts are put first on the path that lead pip, uv, npm, cargo, apt and their kin\n",
    "through `countersign run`; with it, the clients' own configuration names the gateway.\n\n",
    "Your own settings are kept and named; --replace puts the gateway's in their place, and --undo brings them back.\n\n",
    "Examples:\n",
    "  countersign setup --dry-run\n",
    "  countersign setup --gateway https://gate.example --token-env GATE_TOKEN\n",
    "  countersign setup --undo",
))]
pub struct SetupArgs {
    /// Lead the clients to this gateway by their own configuration
    #[arg(long, value_name = "URL", conflicts_with = "undo")]
    pub gateway: Option<Url>,
    /// The variable that holds the token which the gateway wants
    #[arg(long, value_name = "NAME", requires = "gateway")]
    pub token_env: Option<String>,
    /// Only these clients [default: those that are installed]
    #[arg(long, value_name = "NAME")]
    pub client: Vec<String>,
    /// Only these shells [default: those that are installed]
    #[arg(long, value_enum)]
    pub shell: Vec<Shell>,
    /// Put the gateway's settings in the place of your own, which --undo brings back
    #[arg(long, requires = "gateway")]
    pub replace: bool,
    /// Take back everything that setup did
    #[arg(long)]
    pub undo: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Where the folder /etc of apt lies
    #[arg(long, hide = true, default_value = "/etc")]
    pub etc: PathBuf,
}

/// Clients that a gateway can be named to.
const LED: [&str; 8] = ["pip", "uv", "npm", "pnpm", "yarn", "bun", "cargo", "poetry"];
/// What apt reads.
const APT_FILE: &str = "apt/apt.conf.d/90countersign";

/// What was done, for people, and whether all of it could be.
struct Said {
    lines: Vec<String>,
    whole: bool,
}

impl Said {
    fn add(&mut self, result: Result<String, String>) {
        match result {
            Ok(line) => self.lines.push(line),
            Err(problem) => self.keep(problem),
        }
    }

    fn keep(&mut self, problem: String) {
        self.whole = false;
        self.lines.push(format!("kept     {problem}"));
    }
}

/// Runs the subcommand. Returns the exit code: 1 when something of the user's stands against it.
pub async fn setup(context: &Context, args: SetupArgs) -> Result<u8, Failed> {
    let home = Home::from_env().ok_or_else(|| Failed::usage("there is no home folder"))?;
    let state = std::path::absolute(&context.state).map_err(Failed::usage)?;
    let keeper = Keeper::open(&state, args.dry_run).map_err(Failed::usage)?;
    let mut said = Said { lines: Vec::new(), whole: true };
    if args.undo {
        let (lines, whole) = keeper.undo(&with_blocks(&home));
        said = Said { lines, whole };
        if said.lines.is_empty() {
            said.lines.push("nothing is set up".to_owned());
        }
    } else if let Some(url) = &args.gateway {
        let gateway = Gateway::new(url, args.token_env.clone()).map_err(Failed::usage)?;
        lead(keeper, &home, &gateway, &args, &mut said)?;
        if !args.dry_run {
            reach(url, &mut said).await;
        }
    } else {
        shim(keeper, &home, &state, &args, &mut said)?;
    }
    for line in &said.lines {
        print::line(line);
    }
    Ok(u8::from(!said.whole))
}

fn is_installed(name: &str) -> bool {
    probe::which(OsStr::new(name)).is_some()
}

/// The clients that are meant: the named ones, all of which must be known, or the installed ones.
fn chosen(args: &SetupArgs, known: &[&str]) -> Result<Vec<String>, Failed> {
    if let Some(bad) = args.client.iter().find(|c| !known.contains(&c.as_str())) {
        return Err(Failed::usage(format!(
            "`{bad}` is no client that can be set up here; known are {}",
            known.join(", ")
        )));
    }
    if !args.client.is_empty() {
        return Ok(args.client.clone());
    }
    Ok(known.iter().filter(|c| is_installed(c)).map(|c| (*c).to_owned()).collect())
}

fn shells(args: &SetupArgs) -> Vec<Shell> {
    if !args.shell.is_empty() {
        return args.shell.clone();
    }
    Shell::ALL.into_iter().filter(|s| is_installed(s.name())).collect()
}

/// Names the gateway in the clients' configuration.
fn lead(
    mut keeper: Keeper,
    home: &Home,
    gateway: &Gateway,
    args: &SetupArgs,
    said: &mut Said,
) -> Result<(), Failed> {
    let known: Vec<&str> = LED.into_iter().chain(["apt"]).collect();
    let mut clients = chosen(args, &known)?;
    // apt's configuration is the machine's, and is only touched when it is named.
    if args.client.is_empty() {
        clients.retain(|c| c != "apt");
    }
    let mut pieces: Vec<Piece> = Vec::new();
    for client in clients.iter().filter(|c| *c != "apt") {
        match gateway.pieces(client, home) {
            Ok(more) => pieces.extend(more),
            Err(problem) => said.keep(problem),
        }
    }
    let mut files: Vec<PathBuf> = Vec::new();
    for piece in &pieces {
        if !files.contains(&piece.file) {
            files.push(piece.file.clone());
        }
    }
    for file in files {
        let of_file: Vec<&Piece> = pieces.iter().filter(|p| p.file == file).collect();
        match fitted(&file, &of_file, args.replace, said) {
            Ok(Some(change)) => said.add(keeper.change(&change)),
            Ok(None) => {}
            Err(problem) => said.keep(problem),
        }
    }
    if clients.iter().any(|c| c == "apt") {
        said.add(keeper.change(&Change {
            path: args.etc.join(APT_FILE),
            text: gateway.apt(),
            own: Some(0o644),
            what: "Acquire::http::Proxy".to_owned(),
        }));
        if gateway.token_env.is_some() {
            said.keep(
                "apt takes no token from a variable: write it into /etc/apt/auth.conf.d".to_owned(),
            );
        }
    }
    let variables = gateway.variables(&clients);
    if !variables.is_empty() {
        keeper.made.variables = variables;
        keeper.made.when.clone_from(&gateway.token_env);
        start_up(&mut keeper, home, args, said);
    }
    keeper.save().map_err(Failed::internal)
}

/// A file with all its pieces in it; `None` when the user's own settings stand against them.
fn fitted(
    file: &Path,
    pieces: &[&Piece],
    replace: bool,
    said: &mut Said,
) -> Result<Option<Change>, String> {
    let present = apply::read(file)?.unwrap_or_default();
    let unclosed = |u: block::Unclosed| {
        format!("{}: line {}: the block has no end; take it out by hand", file.display(), u.line)
    };
    let base = block::strip(&present).map_err(unclosed)?;
    let (mut text, mut what, mut done) = (base.clone(), Vec::new(), Vec::<&Piece>::new());
    for piece in pieces {
        // npm, pnpm and yarn share a file.
        if done.iter().any(|d| d.lines == piece.lines && d.section == piece.section) {
            continue;
        }
        done.push(piece);
        let fit = piece.fit(&text);
        if !replace && !fit.against.is_empty() {
            for (line, key) in &fit.against {
                said.keep(format!(
                    "{}:{}: `{key}` is your own, and leads {} past the gateway; --replace puts the gateway's in its place",
                    file.display(),
                    line + 1,
                    piece.client
                ));
            }
            return Ok(None);
        }
        let held: Vec<usize> = fit.against.iter().map(|(i, _)| *i).collect();
        text = block::insert(&text, &fit.place, &held, &fit.lines);
        what.push(piece.client);
    }
    what.dedup();
    if pieces.iter().any(|p| p.notation == Notation::Toml) {
        check_toml(file, &base, &text)?;
    }
    Ok(Some(Change { path: file.to_path_buf(), text, own: None, what: what.join(", ") }))
}

/// A file in TOML must still be one, and must name one default index.
fn check_toml(file: &Path, base: &str, text: &str) -> Result<(), String> {
    let shown = file.display();
    let parse = |t: &str| t.parse::<toml::Table>();
    if let Err(e) = parse(base) {
        let why = e.message();
        return Err(format!("{shown}: is no TOML that could be added to: {why}"));
    }
    let table = parse(text).map_err(|e| {
        format!("{shown}: your own settings stand against the gateway's: {}", e.message())
    })?;
    let indexes = table.get("index").and_then(toml::Value::as_array);
    let is_default =
        |i: &&toml::Value| i.get("default").and_then(toml::Value::as_bool) == Some(true);
    if indexes.is_some_and(|all| all.iter().filter(is_default).count() > 1) {
        return Err(format!(
            "{shown}: an index of your own is the default one; take `default = true` from it first"
        ));
    }
    Ok(())
}

async fn reach(url: &Url, said: &mut Said) {
    let base = url.as_str().trim_end_matches('/');
    let Ok(health) = Url::parse(&format!("{base}/healthz")) else { return };
    match countersign_engine::reach(&health).await {
        Ok(status) if status.is_success() => said.lines.push(format!("reached  {base}")),
        Ok(status) => said.lines.push(format!("warning  {base} answers {status} to /healthz")),
        Err(e) => said.lines.push(format!("warning  {e}")),
    }
}

/// Puts shims before the clients.
fn shim(
    mut keeper: Keeper,
    home: &Home,
    state: &Path,
    args: &SetupArgs,
    said: &mut Said,
) -> Result<(), Failed> {
    let known: Vec<&str> = shims::names().collect();
    let folder = state.join("shims");
    let clients = if args.client.is_empty() {
        // Those that come later are covered as well.
        known.iter().map(|c| (*c).to_owned()).collect()
    } else {
        chosen(args, &known)?
    };
    let gate = std::env::current_exe().map_err(Failed::internal)?;
    let path = programs_on_path();
    let mut names: Vec<String> = Vec::new();
    for client in &clients {
        for (name, text) in shims::scripts(client, &folder, &gate, &path) {
            if names.contains(&name) {
                continue;
            }
            let change = Change {
                path: folder.join(&name),
                text,
                own: Some(0o755),
                what: "shim".to_owned(),
            };
            said.add(keeper.change(&change));
            names.push(name);
        }
    }
    said.add(keeper.change(&Change {
        path: folder.join(probe::SHIMS_MARK),
        text: "Programs here lead through the gate; see `countersign setup --help`.\n".to_owned(),
        own: Some(0o644),
        what: "what tells shims from programs".to_owned(),
    }));
    keeper.made.shims = true;
    start_up(&mut keeper, home, args, said);
    keeper.save().map_err(Failed::internal)?;
    if !args.dry_run {
        let file = keeper.shell_file();
        said.lines.push(format!(
            "Open a new shell, or in this one:  . {}",
            shims::quoted(&file.display().to_string())
        ));
    }
    said.lines.push(
        "Not caught: `python -m pip`; programs that are called by their whole path; `sudo`, which has a path of its own; scripts that activate an environment themselves."
            .to_owned(),
    );
    Ok(())
}

/// Names of all programs that the path leads to and that could be pip's.
fn programs_on_path() -> Vec<String> {
    let dirs = std::env::var_os("PATH").unwrap_or_default();
    let mut out: Vec<String> = std::env::split_paths(&dirs)
        .flat_map(|d| std::fs::read_dir(d).into_iter().flatten().flatten())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|n| n.starts_with("pip3."))
        .collect();
    out.sort();
    out.dedup();
    out
}

/// Writes what the shells read when they start.
fn start_up(keeper: &mut Keeper, home: &Home, args: &SetupArgs, said: &mut Said) {
    let file = keeper.shell_file();
    let folder = file.ancestors().nth(2).unwrap_or(Path::new("/")).join("shims");
    let (variables, when) = (keeper.made.variables.clone(), keeper.made.when.clone());
    let startup = Startup {
        shims: keeper.made.shims.then_some(folder.as_path()),
        variables: &variables,
        when: when.as_deref(),
        file: &file,
    };
    let own = |path: PathBuf, text: String, what: &str| Change {
        path,
        text,
        own: Some(0o644),
        what: what.to_owned(),
    };
    let chosen = shells(args);
    if chosen.iter().any(|s| *s != Shell::Fish) {
        said.add(keeper.change(&own(
            file.clone(),
            shells::posix(&startup),
            "what the shells read",
        )));
    }
    if chosen.contains(&Shell::Fish) {
        let text = shells::fish(&startup);
        said.add(keeper.change(&own(shells::fish_file(home), text, "fish")));
    }
    for shell in chosen {
        for piece in shells::pieces(shell, home, &startup) {
            match fitted(&piece.file.clone(), &[&piece], false, said) {
                Ok(Some(change)) => said.add(keeper.change(&change)),
                Ok(None) => {}
                Err(problem) => said.keep(problem),
            }
        }
    }
}

/// Files that may hold a block, should the notes be lost.
fn with_blocks(home: &Home) -> Vec<PathBuf> {
    let in_home = [
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".profile",
        ".zshenv",
        ".zshrc",
        ".yarnrc.yml",
        ".bunfig.toml",
    ];
    let mut all: Vec<PathBuf> = in_home.iter().map(|n| home.home.join(n)).collect();
    all.extend(["pip/pip.conf", "uv/uv.toml", ".bunfig.toml"].map(|n| home.config.join(n)));
    all.extend(["config.toml", "config"].map(|n| home.cargo.join(n)));
    all.push(home.npmrc.clone());
    all.retain(|f| apply::read(f).is_ok_and(|t| t.is_some_and(|t| block::is_in(&t))));
    all
}
