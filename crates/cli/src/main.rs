//! The command `countersign`: arguments, rendering, exit codes. Decisions are made elsewhere.

#![allow(
    unreachable_pub,
    reason = "a binary has no callers outside; `pub` says which module owns an item"
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr))]

mod args;
mod clients;
mod commands;
mod context;
mod exit;
mod print;
mod render;
mod run;

use args::{Cli, Command};
use clap::{CommandFactory as _, Parser as _};
use context::{Context, Failed};
use std::process::ExitCode;

/// A gateway reads indexes of megabytes in many threads and lives for months: this one gives back
/// what was freed, which the system's own keeps.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What serves logs in the form that its configuration says, once that is read.
    if !matches!(cli.command, Command::Serve(_)) {
        let filter = cli.common.log.as_deref().unwrap_or("error");
        let filter = tracing_subscriber::EnvFilter::new(filter);
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
    if let Command::AptAccount { socket } = &cli.command {
        // apt waits for this answer before dpkg sees a package: no runtime, no store.
        return ExitCode::from(commands::apt_account::ask(socket));
    }
    if let Command::Jail { stage } = &cli.command {
        // One thread: what it gives up, all of it gives up.
        return countersign_engine::sandbox::enter(vec![stage.into()]);
    }
    if let Command::VerifyBundle(args) = &cli.command {
        // Nothing of it needs a runtime, a store or a configuration.
        return ExitCode::from(commands::verify_bundle::verify_bundle(args));
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // Work with files, scans and packing: more threads than this only take memory while they wait for
    // processors, of which a gateway with hundreds of clients would have hundreds.
    let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    runtime.enable_all().max_blocking_threads((4 * processors).max(8));
    let runtime = match runtime.build() {
        Ok(runtime) => runtime,
        Err(e) => return fail(&Failed::internal(format!("cannot start: {e}"))),
    };
    let ended = runtime.block_on(dispatch(cli));
    // A client's abandoned downloads must not keep the terminal.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failed) => fail(&failed),
    }
}

async fn dispatch(cli: Cli) -> Result<u8, Failed> {
    let context = Context::new(&cli.common)?;
    match cli.command {
        Command::Run(args) => run::run(&context, args).await,
        Command::Doctor(args) => commands::doctor::doctor(&context, args.json).await,
        Command::Init(args) => commands::init::init(&context, args.origin.as_deref()).await,
        Command::Feed(command) => commands::feed::feed(&context, command).await,
        Command::Policy(command) => commands::policy::policy(&context, command).await,
        Command::Waive(args) => commands::waive::waive(&context, args).await,
        Command::Receipt(args) => commands::receipt::receipt(&context, args).await,
        Command::Verify(args) => commands::verify::verify(&context, *args).await,
        Command::Provenance(args) => commands::provenance::provenance(&context, args).await,
        Command::Attest(args) => commands::attest::attest(&context, args).await,
        Command::Key(command) => commands::key::key(&context, command).await,
        Command::Ledger(command) => commands::ledger::ledger(&context, command).await,
        Command::Incident(command) => commands::incident::incident(&context, command).await,
        Command::Report(args) => commands::report::report(&context, &args).await,
        Command::Trust(command) => commands::trust::trust(&context, command).await,
        Command::Witness(args) => commands::witness::witness(&context, args).await,
        Command::Serve(args) => commands::serve::serve(context, args).await,
        Command::Audit(args) => commands::audit::audit(&context, args).await,
        Command::Findings(args) => commands::findings::findings(&context, args).await,
        Command::Sbom(args) => commands::sbom::sbom(&context, args).await,
        Command::Recall(args) => commands::recall::recall(&context, args).await,
        Command::Who(args) => commands::recall::who(&context, args).await,
        Command::Setup(args) => commands::setup::setup(&context, args).await,
        Command::Token(command) => commands::token::token(command),
        Command::Diff(args) => commands::diff::diff(&context, &args).await,
        Command::Detonate(args) => commands::detonate::detonate(&context, &args).await,
        Command::VersionOrder(args) => commands::version_order::version_order(&args),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "countersign",
                &mut std::io::stdout(),
            );
            Ok(0)
        }
        Command::VerifyBundle(args) => Ok(commands::verify_bundle::verify_bundle(&args)),
        Command::Jail { stage } => Err(Failed::usage(format!("there is no stage `{stage}`"))),
        Command::AptAccount { socket } => Ok(commands::apt_account::ask(&socket)),
    }
}

fn fail(failed: &Failed) -> ExitCode {
    print::error_line(&format!("countersign: {}", failed.message));
    ExitCode::from(failed.code)
}
