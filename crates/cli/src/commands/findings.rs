//! `countersign findings`: what was found in what was judged, since when, and how it stands now.

use crate::context::{Context, Failed, now};
use crate::print;
use clap::{Args, ValueEnum};
use countersign_core::{FindingKind, Purl, Severity};
use countersign_engine::exemptions::Exemptions;
use countersign_engine::findings::{Judging, Record, State, findings as read, vex_words};
use countersign_engine::grounds::active_waivers;
use countersign_engine::store::{OpenMode, Store};

/// `findings`.
#[derive(Args)]
#[command(
    after_help = "States: open (policy does not tolerate it), waived, vex, tolerated, fixed (the last judgement of the\n\
                  same file did not find it any more). A finding's id stays the same when it is found again.\n\
                  What feeds say since the last judgement is here after `countersign recall`.\n\n\
                  Exit codes:\n  0  none of those that are shown is open\n  1  some are\n\n\
                  Examples:\n  countersign findings\n  countersign findings pkg:npm/lodash@4.17.4\n  \
                  countersign findings pkg:npm/lodash --status waived --json"
)]
pub struct FindingsArgs {
    /// A version, or a package [default: everything that was judged]
    pub purl: Option<Purl>,
    /// Only those that stand so; may be given several times
    #[arg(long, value_enum)]
    pub status: Vec<StateArg>,
    /// Also remarks, capabilities and licences that policy tolerates
    #[arg(long)]
    pub all: bool,
    /// Policy: audit, baseline, strict, or a folder of your own
    #[arg(long, value_name = "NAME|DIR", env = "COUNTERSIGN_POLICY")]
    pub policy: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a finding stands, on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateArg {
    /// Policy does not tolerate it.
    Open,
    /// A waiver lifts it.
    Waived,
    /// A VEX document of our own says that it does not stand.
    Vex,
    /// Policy tolerates it.
    Tolerated,
    /// It was not found any more.
    Fixed,
}

impl StateArg {
    fn state(self) -> State {
        match self {
            Self::Open => State::Open,
            Self::Waived => State::Waived,
            Self::Vex => State::Vex,
            Self::Tolerated => State::Tolerated,
            Self::Fixed => State::Fixed,
        }
    }
}

/// Runs the subcommand. Returns the exit code.
pub async fn findings(context: &Context, args: FindingsArgs) -> Result<u8, Failed> {
    let (config, _) = context.config()?;
    let policy_name = args.policy.clone().or_else(|| config.policy.clone());
    let policy = context.policy(policy_name.as_deref().unwrap_or("baseline"))?;
    if !context.state.join("store.sqlite").is_file() {
        return Err(Failed::usage(format!(
            "there is no store at `{}`: nothing was judged here; name another with --state",
            context.state.display()
        )));
    }
    let store = Store::open(&context.state, OpenMode::ReadOnly).await?;
    let now = now();
    let exemptions = Exemptions::read(&config, now).map_err(Failed::usage)?;
    let mut waivers = active_waivers(&store, now).await.map_err(Failed::internal)?;
    waivers.extend(exemptions.waivers.iter().map(|w| w.waiver.clone()));
    let judging = Judging { policy: &policy, waivers: &waivers, exemptions: &exemptions, now };
    let all = read(&store, args.purl.as_ref(), &judging).await?;
    let shown: Vec<&Record> = all.iter().filter(|r| is_shown(r, &args)).collect();
    if args.json {
        let text = serde_json::to_string_pretty(&shown).map_err(Failed::internal)?;
        print::line(&text);
    } else {
        shown.iter().flat_map(|r| lines(r)).for_each(|l| print::line(&l));
        print::line(&counts(&shown, all.len()));
    }
    Ok(u8::from(shown.iter().any(|r| r.state == State::Open)))
}

fn is_shown(record: &Record, args: &FindingsArgs) -> bool {
    if !args.status.is_empty() {
        return args.status.iter().any(|s| s.state() == record.state);
    }
    let remark = record.finding.severity <= Severity::Info
        || matches!(record.finding.kind, FindingKind::Capability | FindingKind::Licence);
    args.all || !(remark && matches!(record.state, State::Tolerated | State::Fixed))
}

fn lines(r: &Record) -> Vec<String> {
    let plain = |text: &str| -> String {
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    };
    let f = &r.finding;
    let cve = f.aliases.iter().find(|a| a.starts_with("CVE-"));
    let known_as = cve.map(|c| format!(" {c}")).unwrap_or_default();
    let mut out = vec![
        format!(
            "{}  {:<9} {:<8}  {}  {}{known_as}",
            r.id,
            r.state.name(),
            f.severity.to_string(),
            plain(&r.purl.label()),
            plain(&f.id),
        ),
        format!("    {}", plain(&f.title)),
    ];
    let place = f.path.as_ref().map(|p| format!(", in {}", plain(p))).unwrap_or_default();
    let fix = f.fixed_in.as_ref().map(|v| format!(", fixed in {}", plain(v))).unwrap_or_default();
    out.push(format!(
        "    first seen {}, last {}{place}{fix}",
        r.first_seen.date(),
        r.last_seen.date()
    ));
    if !r.waivers.is_empty() {
        out.push(format!("    waived by {}", r.waivers.join(", ")));
    }
    if !f.vex.is_empty() {
        out.push(format!("    VEX: {}", plain(&vex_words(&f.vex))));
    }
    out
}

fn counts(shown: &[&Record], all: usize) -> String {
    let of = |state: State| shown.iter().filter(|r| r.state == state).count();
    let states = [State::Open, State::Waived, State::Vex, State::Tolerated, State::Fixed];
    let parts: Vec<String> = states
        .into_iter()
        .filter(|s| of(*s) > 0)
        .map(|s| format!("{} {}", of(s), s.name()))
        .collect();
    let hidden = all - shown.len();
    let more = match hidden {
        0 => String::new(),
        n => format!("; {n} more with --all or another --status"),
    };
    if parts.is_empty() {
        format!("no findings{more}")
    } else {
        format!("{}{more}", parts.join(", "))
    }
}
