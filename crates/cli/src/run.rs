//! `countersign run`: one client, one gate, one report.

use crate::args::RunArgs;
use crate::clients::{self, Asked, Command, Gate, Then};
use crate::commands::{apt_account, recall};
use crate::context::{Context, Failed, now};
use crate::render::{self, Summary};
use crate::{exit, print};
use countersign_core::{ReasonCode, Verdict};
use countersign_engine::account::{Account, Plan};
use countersign_engine::store::Store;
use countersign_engine::{Engine, EvidenceSource, Setup, Upstream, trust};
use countersign_gateway::Gateway;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Runs a client behind the gate. Returns the exit code.
pub async fn run(context: &Context, args: RunArgs) -> Result<u8, Failed> {
    let command = Command::detect(&args.command).map_err(Failed::internal)?;
    let (mut config, lists) = context.config()?;
    config.rules.extend(args.rules.iter().cloned());
    let policy_name = args
        .policy
        .clone()
        .or_else(|| config.policy.clone())
        .unwrap_or_else(|| "baseline".to_owned());
    let policy = context.policy(&policy_name)?;
    let (store, made) = context.open_or_init().await?;
    if let Some(text) = &made {
        print::error_line(&format!("countersign: {text}"));
    }
    let feeds = context.feeds(&store, &args.feed).await?;
    let asked = ask(&command, &store).await?;
    let mut evidence = config.evidence.clone();
    evidence.extend(args.evidence.iter().cloned());
    if let Some(folder) = evidence.iter().find_map(EvidenceSource::missing) {
        return Err(Failed::usage(format!("evidence folder `{folder}` is not there")));
    }
    let roots = trust::load(&store, &config.trust).await.map_err(Failed::usage)?;
    let engine = Engine::open(Setup {
        store: store.clone(),
        policy,
        config,
        lists,
        feeds,
        roots,
        evidence,
        extra_roots: read_roots(&asked.roots)?,
        upstreams: upstreams(&asked, &args.mirror)?,
        pins: asked.pins.clone(),
        locked: asked.locked.clone(),
        scopes: asked.scopes.clone(),
        installed: asked.installed.clone(),
        client: command.client.name().to_owned(),
        debian: asked.debian.clone(),
        serving: None,
    })
    .await
    .map_err(Failed::internal)?;
    recall::fetched_here(&engine);
    for (what, why, _) in &asked.doors {
        engine.report().add_door(what, why);
    }
    let ahead = tokio::sync::Mutex::new(None);
    let mut run = Run { args, command, asked, engine, store, policy_name, ahead };
    run.go().await
}

async fn ask(command: &Command, store: &Store) -> Result<Asked, Failed> {
    let mut memory = StoredMemory { known: BTreeMap::new(), fresh: Vec::new() };
    // What was learned of clients before is few and small; a client's question is blocking work.
    if let Some(text) = store.meta_get("clients").await? {
        memory.known = serde_json::from_str(&text).unwrap_or_default();
    }
    let command = command.clone();
    let (asked, memory) = tokio::task::spawn_blocking(move || {
        let asked = clients::ask(&command, &mut memory);
        (asked, memory)
    })
    .await
    .map_err(Failed::internal)?;
    if !memory.fresh.is_empty() {
        let mut all = memory.known;
        all.extend(memory.fresh);
        let text = serde_json::to_string(&all).map_err(Failed::internal)?;
        store.meta_put("clients", &text).await?;
    }
    asked.map_err(Failed::internal)
}

/// What was learned of clients, kept in the store.
struct StoredMemory {
    known: BTreeMap<String, String>,
    fresh: Vec<(String, String)>,
}

impl clients::probe::Memory for StoredMemory {
    fn get(&mut self, key: &str) -> Option<String> {
        self.known.get(key).cloned()
    }
    fn put(&mut self, key: &str, value: &str) {
        self.fresh.push((key.to_owned(), value.to_owned()));
    }
}

fn read_roots(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, Failed> {
    let read = |f: &PathBuf| {
        std::fs::read(f).map_err(|e| {
            Failed::usage(format!("certificates `{}` cannot be read: {e}", f.display()))
        })
    };
    files.iter().map(read).collect()
}

fn upstreams(
    asked: &Asked,
    mirrors: &[String],
) -> Result<Vec<(Upstream, Option<http::HeaderValue>)>, Failed> {
    let mut out = Vec::new();
    for seed in &asked.upstreams {
        let Some(mut upstream) = Upstream::new(seed.ecosystem, &seed.address) else {
            return Err(Failed::internal(format!(
                "`{}` is an index that the gate cannot judge: it is not served over http or https; \
                 take it out of the client's configuration for this run",
                countersign_engine::shown_address(&seed.address)
            )));
        };
        upstream.keyring.clone_from(&seed.keyring);
        upstream.explicit = seed.explicit;
        upstream.mirror = mirrors.iter().any(|m| upstream.name.contains(m.as_str()));
        out.push((upstream, countersign_engine::credential_of(&seed.address)));
    }
    Ok(out)
}

struct Run {
    args: RunArgs,
    command: Command,
    asked: Asked,
    engine: Engine,
    store: Store,
    policy_name: String,
    ahead: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Run {
    async fn go(&mut self) -> Result<u8, Failed> {
        let started = Instant::now();
        let folder =
            tempfile::Builder::new().prefix("countersign-").tempdir().map_err(Failed::internal)?;
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700))
            .map_err(Failed::internal)?;
        let gateway = Gateway::start(self.engine.clone()).await.map_err(Failed::internal)?;
        if !self.args.quiet && self.args.format == crate::args::Format::Table {
            let say = |text: &str| print::error_line(&print::wrap(text, print::width(), 2));
            say(&render::opening(&self.engine, &self.command, &self.policy_name));
            for door in self.engine.report().doors() {
                say(&format!("countersign: closed {}: {}", door.what, door.why));
            }
        }
        self.asked.account.settle(folder.path());
        let prepared = self.prepare(&gateway, folder.path()).await?;
        let client = match prepared {
            Prepared::Stopped => None,
            Prepared::Ready(mut child, before) => Some((self.wait(&mut child).await?, before)),
        };
        self.finish_ahead(client.as_ref().is_some_and(|(code, _)| *code == 0)).await;
        gateway.stop();
        recall::write_fetches(&self.engine).await;
        let account = match &client {
            Some((_, before)) => self.engine.account(&self.asked.account, before).await,
            None => Account::default(),
        };
        self.deliver(folder.path())?;
        let client_code = client.as_ref().map(|(code, _)| *code);
        let code = self.exit_code(client_code, &account);
        let summary = Summary {
            engine: &self.engine,
            command: &self.command,
            policy: &self.policy_name,
            announced: &self.asked.doors,
            account: &account,
            client_code,
            exit_code: code,
            elapsed: started.elapsed(),
            checkpoint: self.store.checkpoint().await?,
        };
        self.write_report(&summary)?;
        // Everything that was prepared is admitted and reconciled: only now may it run.
        match &self.asked.then {
            Some(then) if client_code == Some(0) && code == 0 => self.start(then).await,
            _ => Ok(code),
        }
    }

    /// Starts the program for which the client prepared an environment, outside the gate.
    async fn start(&self, then: &Then) -> Result<u8, Failed> {
        let Some((words, set, remove)) = second_step(then).map_err(Failed::internal)? else {
            return Ok(0);
        };
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        let mut process = tokio::process::Command::new(&program);
        process.args(words).envs(set);
        for name in remove {
            process.env_remove(name);
        }
        let mut child = process.spawn().map_err(|e| {
            Failed::internal(format!("`{}` cannot be started: {e}", program.to_string_lossy()))
        })?;
        self.wait(&mut child).await
    }

    async fn prepare(&self, gateway: &Gateway, folder: &Path) -> Result<Prepared, Failed> {
        let certificate = folder.join("run-ca.pem");
        std::fs::write(&certificate, gateway.certificate_pem()).map_err(Failed::internal)?;
        let proxy = gateway.proxy_url();
        let gate = Gate { proxy: &proxy, certificate: &certificate, folder };
        // Crates that cargo would take from its own cache are judged before it starts.
        if !self.asked.cached.is_empty()
            && self.engine.judge_cached(self.asked.cached.clone()).await > 0
        {
            return Ok(Prepared::Stopped);
        }
        for path in self.local_dists() {
            if !self.engine.judge_local_dist(&path).await {
                return Ok(Prepared::Stopped);
            }
        }
        if let Plan::Debian(_) = self.asked.account {
            apt_account::listen(&folder.join("account.sock"), self.engine.clone())
                .map_err(Failed::internal)?;
        }
        if self.asked.ahead_first {
            let ahead = self.asked.ahead.clone();
            self.engine.judge_ahead(ahead).await;
            let stopped =
                |e: &countersign_engine::report::Entry| e.decision.verdict != Verdict::Admit;
            if self.engine.report().entries().iter().any(stopped) {
                return Ok(Prepared::Stopped);
            }
        } else if !self.asked.ahead.is_empty() {
            let (engine, ahead) = (self.engine.clone(), self.asked.ahead.clone());
            *self.ahead.lock().await =
                Some(tokio::spawn(async move { engine.judge_ahead(ahead).await }));
        }
        let before = self.engine.snapshot(&self.asked.account).await;
        let equipment = clients::equip(&self.command, &self.asked, &gate)?;
        let mut words = self.asked.program.as_ref().unwrap_or(&self.command.program).iter();
        let program = words.next().cloned().unwrap_or_default();
        let mut process = tokio::process::Command::new(&program);
        process.args(words).args(&equipment.before);
        process.args(self.asked.args.as_ref().unwrap_or(&self.command.args));
        for name in &equipment.remove {
            process.env_remove(name);
        }
        for (name, value) in &equipment.set {
            process.env(name, value);
        }
        let child = process.spawn().map_err(|e| {
            Failed::internal(format!("`{}` cannot be started: {e}", program.to_string_lossy()))
        })?;
        Ok(Prepared::Ready(child, Box::new(before)))
    }

    /// Lets the work that was begun ahead end: where the client failed, the report shall name
    /// everything that stands against the lock file, not only what the client came across first.
    async fn finish_ahead(&self, succeeded: bool) {
        let Some(task) = self.ahead.lock().await.take() else { return };
        if succeeded {
            task.abort();
        } else if tokio::time::timeout(std::time::Duration::from_secs(60), task).await.is_err() {
            print::error_line("countersign: the rest of the lock file was not judged in time");
        }
    }

    /// Archives of this machine that the user names as what to install.
    fn local_dists(&self) -> Vec<PathBuf> {
        let Plan::Python(plan) = &self.asked.account else { return Vec::new() };
        let archive = |p: &&PathBuf| {
            let name = p.to_string_lossy().to_ascii_lowercase();
            let kinds = [".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar", ".egg"];
            kinds.iter().any(|k| name.ends_with(k))
        };
        plan.local.iter().filter(|p| p.is_file()).filter(archive).cloned().collect()
    }

    /// Waits for the client, showing what is inspected when it takes long enough to wonder.
    async fn wait(&self, child: &mut tokio::process::Child) -> Result<u8, Failed> {
        use tokio::signal::unix::{SignalKind, signal};
        // The terminal sends an interrupt to the client as well: the gate stays to reconcile.
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failed::internal)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failed::internal)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(Failed::internal)?;
        let mut progress = render::Progress::new(!self.args.quiet);
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
        loop {
            tokio::select! {
                status = child.wait() => {
                    progress.clear();
                    let status = status.map_err(Failed::internal)?;
                    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
                    return Ok(u8::try_from(code).unwrap_or(1));
                }
                _ = interrupt.recv() => {}
                _ = terminate.recv() => end(child),
                _ = hangup.recv() => end(child),
                _ = tick.tick() => progress.show(&self.engine.report().progress()),
            }
        }
    }

    /// Puts debs that were only to be downloaded where apt keeps them.
    fn deliver(&self, folder: &Path) -> Result<(), Failed> {
        let Plan::Debian(plan) = &self.asked.account else { return Ok(()) };
        let Some(target) = &plan.deliver else { return Ok(()) };
        for entry in std::fs::read_dir(folder.join("archives")).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "deb") {
                let to = target.join(entry.file_name());
                std::fs::copy(&path, &to).map_err(|e| {
                    Failed::internal(format!("`{}` cannot be written: {e}", to.display()))
                })?;
            }
        }
        Ok(())
    }

    fn exit_code(&self, client: Option<u8>, account: &Account) -> u8 {
        if !account.gaps.is_empty() || (client == Some(0) && !account.not_done.is_empty()) {
            return exit::UNGATED;
        }
        if client == Some(0) {
            return 0;
        }
        let entries = self.engine.report().entries();
        let stopped: Vec<_> =
            entries.iter().filter(|e| e.decision.verdict != Verdict::Admit).collect();
        let any = |f: &dyn Fn(ReasonCode) -> bool| stopped.iter().filter_map(|e| e.reason()).any(f);
        if any(&ReasonCode::is_gate) {
            return exit::INTERNAL;
        }
        if stopped.iter().any(|e| {
            e.decision.verdict == Verdict::Refuse
                && e.reason().is_some_and(|r| !r.is_upstream() || e.purl.is_some())
        }) {
            let only_upstream = stopped
                .iter()
                .filter_map(|e| e.reason())
                .all(|r| matches!(r, ReasonCode::UpstreamFailed | ReasonCode::UpstreamStalled));
            return if only_upstream { exit::UPSTREAM } else { exit::REFUSED };
        }
        if stopped.iter().any(|e| e.decision.verdict == Verdict::Hold) {
            return exit::HELD;
        }
        if any(&ReasonCode::is_upstream) {
            return exit::UPSTREAM;
        }
        // A resolver that found nothing admissible fails without asking for a file.
        if let Some(verdict) = render::missing_for_want_of(&self.engine, &self.asked.pins) {
            return if verdict == Verdict::Hold { exit::HELD } else { exit::REFUSED };
        }
        // A door that the client's configuration leaves open and nobody went through is no reason.
        let idle = |what: &str| self.asked.doors.iter().any(|(w, _, wanted)| w == what && !wanted);
        if self.engine.report().doors().iter().any(|d| !idle(&d.what))
            && client.is_some_and(|c| c != 0)
        {
            return exit::REFUSED;
        }
        client.unwrap_or(exit::REFUSED)
    }

    fn write_report(&self, summary: &Summary<'_>) -> Result<(), Failed> {
        let text = match self.args.format {
            crate::args::Format::Table => {
                render::table(summary, self.args.quiet, self.args.report.is_none())
            }
            crate::args::Format::Json => render::json(summary),
            crate::args::Format::Sarif => render::sarif(summary),
        };
        match &self.args.report {
            Some(file) => std::fs::write(file, format!("{text}\n")).map_err(|e| {
                Failed::internal(format!("`{}` cannot be written: {e}", file.display()))
            }),
            None => {
                if !text.is_empty() {
                    print::error_line(&text);
                }
                Ok(())
            }
        }
    }
}

/// Words, variables to set and variables to remove.
type Step = (Vec<OsString>, Vec<(String, String)>, Vec<String>);

/// What the second step starts; `None` when the client prepared nothing to run.
fn second_step(then: &Then) -> Result<Option<Step>, String> {
    #[derive(serde::Deserialize)]
    struct Recorded {
        words: Vec<String>,
        set: BTreeMap<String, String>,
        remove: Vec<String>,
    }
    match then {
        Then::Words(words, remove) => {
            let remove = remove.iter().map(|n| (*n).to_owned()).collect();
            Ok(Some((words.clone(), Vec::new(), remove)))
        }
        Then::Recorded(file) => {
            let Ok(bytes) = std::fs::read(file) else { return Ok(None) };
            let r: Recorded = serde_json::from_slice(&bytes)
                .map_err(|e| format!("what is to be run cannot be read: {e}"))?;
            let words = r.words.into_iter().map(OsString::from).collect();
            Ok(Some((words, r.set.into_iter().collect(), r.remove)))
        }
    }
}

/// Asks the client to end. One that is gone already needs no signal.
fn end(child: &tokio::process::Child) {
    if let Some(pid) = child.id().and_then(|p| rustix::process::Pid::from_raw(p.cast_signed())) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

enum Prepared {
    Ready(tokio::process::Child, Box<countersign_engine::account::Snapshot>),
    Stopped,
}

/// The time of a report.
pub fn report_time() -> String {
    now().to_string()
}
