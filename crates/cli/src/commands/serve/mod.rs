//! `countersign serve`: the gateway for a team.

mod banner;
mod check;
mod logs;
mod notify;
mod plan;
mod reload;
mod snippet;
mod upkeep;

use crate::context::{Context, Failed};
use crate::print;
use clap::Args;
use countersign_engine::config::{LogForm, TlsFiles, TokenConfig, UpstreamConfig};
use countersign_engine::policy::PolicySet;
use countersign_engine::{Engine, EvidenceSource, Serving, Setup};
use countersign_gateway::server::{self, Server, ServerOptions};
use plan::Plan;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use url::Url;

/// `serve`.
#[derive(Args, Clone)]
#[command(after_help = concat!(
    "The gateway is configured in countersign.toml: [serve], and one [[upstream]] for each registry.\n",
    "Signals: TERM and INT end it in peace, HUP has it read policy, lists, tokens, certificate and feeds again.\n\n",
    "Examples:\n",
    "  countersign serve --check\n",
    "  countersign serve --listen 0.0.0.0:8417 --public-url https://gate.example\n",
    "  countersign token new ci",
))]
pub struct ServeArgs {
    /// Check everything that a start needs, print each point, and do not start (exit code 0 or 2)
    #[arg(long)]
    pub check: bool,
    /// Listen here instead of where the configuration says; may be given several times
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Vec<SocketAddr>,
    /// The address that clients know the gateway by
    #[arg(long, value_name = "URL")]
    pub public_url: Option<Url>,
    /// Policy: audit (record only), baseline, strict, or a folder of your own
    #[arg(long, value_name = "NAME|DIR", env = "COUNTERSIGN_POLICY")]
    pub policy: Option<String>,
    /// One more advisory feed: an OSV zip, a record, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub feed: Vec<PathBuf>,
    /// Folder or http tree of evidence keyed by digest (<sha256>/*.json)
    #[arg(long, value_name = "DIR")]
    pub evidence: Vec<EvidenceSource>,
}

/// Runs the subcommand. Returns the exit code.
pub async fn serve(context: Context, args: ServeArgs) -> Result<u8, Failed> {
    if args.check {
        let level = context.log.as_deref().unwrap_or("error");
        logs::start(LogForm::Text, Some(level), None).map_err(Failed::usage)?;
        return check::check(&context, &args).await;
    }
    let (plan, policy) = Plan::read(&context, &args)?;
    settle_memory();
    if plan.config.upstream.is_empty() {
        return Err(snippet::no_upstream(&config_place(&context)).await);
    }
    let otlp = plan.config.serve.otlp.as_ref();
    let traces = logs::start(plan.config.serve.log, context.log.as_deref(), otlp);
    let traces = traces.map_err(Failed::usage)?;
    // From here on no signal is lost, however early it comes.
    let mut signals = Signals::new()?;
    let context = Arc::new(context);
    let engine = open(&context, &args, &plan, policy).await?;
    let mut options = options(&plan)?;
    let fetches = engine.fetches().clone();
    options.on_fetch = Some(Arc::new(move |admitted, _, asker| fetches.note(admitted, asker)));
    let server = Server::start(engine.clone(), options).await.map_err(Failed::usage)?;
    say_hello(&engine, &plan, &server);
    let manager = notify::Notify::from_env();
    manager.say("READY=1");
    let mut tasks = JoinSet::new();
    let poke = Arc::new(tokio::sync::Notify::new());
    tasks.spawn(upkeep::waivers(engine.clone()));
    tasks.spawn(engine.clone().recall_watch());
    {
        let engine = engine.clone();
        tasks.spawn(async move { engine.tidy_index_cache().await });
    }
    let watch = upkeep::FeedWatch::new(context.clone(), engine.clone(), args.feed.clone());
    tasks.spawn(watch.run(Duration::from_secs(plan.config.serve.feed_seconds), poke.clone()));
    let grace = Duration::from_secs(plan.config.serve.grace_seconds);
    let fetches = engine.fetches().clone();
    let mut reloader = reload::Reloader::new(context, args, plan, engine, poke);
    wait(&mut signals, &mut reloader, &server, &manager).await;
    manager.say("STOPPING=1");
    tracing::info!("stopping");
    tasks.abort_all();
    tokio::select! {
        ended = server.shutdown(grace) => {
            if ended.is_clean() {
                tracing::info!("stopped");
            } else {
                let (requests, questions) = (ended.requests_left, ended.questions_left);
                tracing::warn!(requests, questions, "stopped with work left");
            }
        }
        // Who asks twice does not want to wait.
        () = signals.ending.wait() => tracing::warn!("stopped before all requests had ended"),
    }
    if let Err(error) = fetches.flush().await {
        tracing::error!(%error, "the last notes of who fetched what are lost");
    }
    traces.end().await;
    Ok(0)
}

/// The allocator keeps what was freed for ten seconds, and that of the libraries in C for good, each
/// in a heap for every thread, unless they are told otherwise before the program starts; a gateway that
/// read a large index would stay large. So the program starts itself again, in the same process, with
/// these settings. What the user has set stays.
fn settle_memory() {
    use std::os::unix::process::CommandExt as _;
    const SETTINGS: [(&str, &str); 4] = [
        (
            "_RJEM_MALLOC_CONF",
            "narenas:2,dirty_decay_ms:250,muzzy_decay_ms:0,background_thread:true,tcache_max:8192",
        ),
        ("MALLOC_ARENA_MAX", "1"),
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ];
    if SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = std::process::Command::new(program);
    again.args(std::env::args_os().skip(1)).envs(SETTINGS);
    // It only comes back when it failed, and then the memory is larger, not wrong.
    let error = again.exec();
    tracing::debug!(%error, "the allocator keeps its own settings");
}

/// Waits for the signal to end, and does what the other ones ask for.
async fn wait(
    signals: &mut Signals,
    reloader: &mut reload::Reloader,
    server: &Server,
    manager: &notify::Notify,
) {
    let every = manager.watchdog();
    let mut watchdog = tokio::time::interval(every.unwrap_or(Duration::from_secs(3600)));
    loop {
        tokio::select! {
            () = signals.ending.wait() => return,
            _ = signals.hangup.recv() => {
                manager.say("STATUS=reading the configuration again");
                reloader.reload(server).await;
                manager.say("STATUS=");
            }
            _ = watchdog.tick(), if every.is_some() => manager.say("WATCHDOG=1"),
        }
    }
}

struct Signals {
    ending: Ending,
    hangup: Signal,
}

/// The signals that end the gateway.
struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failed> {
        let listen = |kind| signal(kind).map_err(Failed::internal);
        let terminate = listen(SignalKind::terminate())?;
        let interrupt = listen(SignalKind::interrupt())?;
        let hangup = listen(SignalKind::hangup())?;
        Ok(Self { ending: Ending { terminate, interrupt }, hangup })
    }
}

impl Ending {
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn open(
    context: &Context,
    args: &ServeArgs,
    plan: &Plan,
    policy: PolicySet,
) -> Result<Engine, Failed> {
    let (store, made) = context.open_or_init().await?;
    if let Some(text) = &made {
        tracing::info!("{text}");
    }
    let places = context.feed_places(&store, &args.feed).await?;
    let feeds = super::feed::open_apart(context.state.join("feeds"), places).await;
    let feeds = feeds.map_err(Failed::usage)?;
    let day = Duration::from_secs(24 * 3600);
    let serve = &plan.config.serve;
    let serving = Serving {
        fresh: Duration::from_secs(serve.index_seconds),
        stale: day.saturating_mul(u32::try_from(serve.stale_days).unwrap_or(u32::MAX)),
        memory: serve.memory.indexes,
        tokens_required: !plan.tokens.is_empty(),
    };
    let roots = countersign_engine::trust::load(&store, &plan.config.trust).await;
    let roots = roots.map_err(Failed::usage)?;
    Engine::open(Setup {
        store,
        policy,
        config: plan.config.clone(),
        lists: plan.lists.clone(),
        feeds,
        roots,
        evidence: plan.evidence.clone(),
        extra_roots: Vec::new(),
        upstreams: Vec::new(),
        pins: Vec::new(),
        locked: std::collections::HashMap::new(),
        scopes: std::collections::HashMap::new(),
        installed: Vec::new(),
        client: "serve".to_owned(),
        debian: Vec::new(),
        serving: Some(serving),
    })
    .await
    .map_err(Failed::internal)
}

fn options(plan: &Plan) -> Result<ServerOptions, Failed> {
    let serve = &plan.config.serve;
    let trusted = serve.trusted_proxies.iter().map(|r| r.to_string().parse());
    let default = ServerOptions::default();
    Ok(ServerOptions {
        listen: serve.listen.clone(),
        public_url: serve.public_url.clone(),
        allowed_hosts: serve.allowed_hosts.clone(),
        trusted_proxies: trusted.collect::<Result<_, _>>().map_err(Failed::internal)?,
        tls: serve.tls.as_ref().map(tls),
        tokens: tokens(&plan.tokens),
        limits: server::Limits {
            connections: serve.connections,
            requests: serve.requests,
            ..default.limits
        },
        memory: server::Memory {
            documents: serve.memory.documents,
            compressed: serve.memory.compressed,
            artifacts: serve.memory.artifacts,
            artifact: serve.memory.artifact,
        },
        drain: Duration::from_secs(serve.drain_seconds),
        ..default
    })
}

/// How often the files of the certificate are looked at.
const LOOK_AT_CERTIFICATE: Duration = Duration::from_secs(10);

fn tls(files: &TlsFiles) -> server::TlsFiles {
    server::TlsFiles {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        look_every: LOOK_AT_CERTIFICATE,
    }
}

fn tokens(tokens: &[TokenConfig]) -> Vec<server::Token> {
    let one = |t: &TokenConfig| server::Token {
        name: t.name.as_str().into(),
        sha256: t.sha256,
        expires: t.expires,
        role: t.role,
    };
    tokens.iter().map(one).collect()
}

/// One readable text for people, and lines of the log for machines.
fn say_hello(engine: &Engine, plan: &Plan, server: &Server) {
    let addresses = server.addresses();
    if plan.config.serve.log == LogForm::Text {
        return print::error_line(&banner::banner(engine, plan, addresses));
    }
    for address in addresses {
        tracing::info!(%address, "listening");
    }
    tracing::info!(
        policy = %plan.policy_name,
        digest = %engine.policy_digest(),
        key = %engine.store().verifier_key().map_or_else(String::new, ToString::to_string),
        advisories = engine.feeds().map_or(0, |f| f.meta().advisories),
        "ready"
    );
}

/// Where the configuration lies, or should, for messages.
fn config_place(context: &Context) -> String {
    context.config_file.as_ref().map_or_else(
        || "countersign.toml (named with --config, or in ~/.config/countersign)".to_owned(),
        |f| format!("`{}`", f.display()),
    )
}

fn name_of(upstream: &UpstreamConfig) -> String {
    let address = countersign_engine::shown_address(&upstream.url);
    upstream.name.as_ref().map_or_else(|| address.clone(), |n| format!("{n} ({address})"))
}
