//! From deeds to findings: one function a rule.

use crate::baseline::Baseline;
use crate::canary::Canaries;
use crate::event::Deed;
use crate::spec::HOME;
use countersign_core::{Confidence, Finding, FindingKind, Observed, Severity, Sha256Digest};
use std::collections::BTreeSet;

/// A deed that is the artifact's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own<'a> {
    /// The step.
    pub(crate) step: &'a str,
    /// Who did it.
    pub(crate) actor: &'a str,
    /// What.
    pub(crate) deed: &'a Deed,
}

/// What the rules judge by.
pub(crate) struct Seen<'a> {
    /// The artifact's own deeds, in their order.
    pub(crate) deeds: Vec<Own<'a>>,
    /// Steps after which programs went on running, and which.
    pub(crate) left: Vec<(&'a str, &'a str)>,
    /// Limits that were met.
    pub(crate) limits: Vec<&'a str>,
    /// The bait.
    pub(crate) bait: &'a Canaries,
    /// The client's own behaviour.
    pub(crate) baseline: &'a Baseline,
}

/// Something that a rule found.
struct Hit {
    rule: &'static str,
    severity: Severity,
    capability: &'static str,
    says: String,
}

type Rule = fn(&Seen<'_>) -> Vec<Hit>;

const RULES: &[Rule] = &[
    reads_credentials,
    sends_credentials,
    connects,
    persists,
    writes_outside,
    runs_downloaded,
    starts_shell,
    mines,
    escapes,
    stays,
    exhausts,
];

/// Findings of one rule that are listed.
const LISTED: usize = 8;

/// All findings, worst first.
pub(crate) fn findings(seen: &Seen<'_>) -> Vec<Finding> {
    let mut out: Vec<Finding> = Vec::new();
    for rule in RULES {
        let mut said = BTreeSet::new();
        let hits = rule(seen).into_iter().filter(|h| said.insert(h.says.clone()));
        out.extend(hits.take(LISTED).map(finding));
    }
    out.sort_by_key(|f| std::cmp::Reverse(f.severity));
    out
}

fn finding(hit: Hit) -> Finding {
    let id = format!("behaviour.{}", hit.rule);
    let key = Sha256Digest::of(format!("{id}\n{}", hit.says).as_bytes()).to_hex();
    Finding {
        id,
        aliases: Vec::new(),
        kind: FindingKind::Suspicious,
        severity: hit.severity,
        title: hit.says,
        fixed_in: None,
        path: None,
        observed: Some(Observed {
            line: None,
            capability: hit.capability.to_owned(),
            confidence: Confidence::High,
            key: key.chars().take(16).collect(),
        }),
        exploitation: None,
        vex: Vec::new(),
    }
}

/// When a step's deeds happen, for people.
fn when(step: &str) -> &str {
    match step {
        "install" | "unpack" => "when it is installed",
        "build" => "when it is compiled",
        "start" => "at each start of the interpreter",
        "import" => "when it is loaded",
        other => other,
    }
}

/// Programs that people have on their machines, and the credentials that are their own.
const OWNERS: &[(&str, &[&str])] = &[
    ("npm", &["~/.npmrc"]),
    ("cargo", &["~/.cargo/credentials.toml"]),
    ("pip", &["~/.netrc", "~/.pypirc"]),
    ("git", &["~/.git-credentials"]),
    ("docker", &["~/.docker/config.json"]),
];

/// Whether an actor is a program of the machine, and not one that the artifact brought.
fn is_installed(seen: &Seen<'_>, actor: &str) -> bool {
    let brought = ["/box", "/tmp", "/var/tmp", "/dev", "/proc", HOME];
    let mut programs = seen.deeds.iter().filter_map(|o| match o.deed {
        Deed::Started { program, .. } if o.actor == actor => Some(program),
        _ => None,
    });
    let is_brought = |program: &String| brought.iter().any(|b| program.starts_with(b));
    programs.next().is_some_and(|p| !is_brought(p)) && !programs.any(is_brought)
}

fn reads_credentials(seen: &Seen<'_>) -> Vec<Hit> {
    let mut out = Vec::new();
    for own in &seen.deeds {
        let Deed::Read { path } = own.deed else { continue };
        let (what, other) = match seen.bait.named(path) {
            Some(bait) => (bait, false),
            None if path.starts_with("/proc/") || path.starts_with("/etc/shadow") => {
                (path.clone(), true)
            }
            None => continue,
        };
        let last = own.actor.rsplit(" > ").next().unwrap_or_default();
        let owns = OWNERS.iter().any(|(name, files)| *name == last && files.contains(&&*what));
        let says = format!("reads `{what}` {} ({})", when(own.step), own.actor);
        let severity = match owns && !other && is_installed(seen, own.actor) {
            true => Severity::Low,
            false => Severity::High,
        };
        out.push(Hit { rule: "reads-credentials", severity, capability: "credentials", says });
    }
    out
}

fn sends_credentials(seen: &Seen<'_>) -> Vec<Hit> {
    let sent = seen.deeds.iter().filter_map(|own| match own.deed {
        Deed::Sent { target, name, bait, .. } if !bait.is_empty() => {
            let to = name.as_deref().unwrap_or(target);
            let what = bait.join("`, `");
            let says = format!("sends `{what}` to `{to}` {} ({})", when(own.step), own.actor);
            let severity = Severity::Critical;
            let capability = "credentials+network";
            Some(Hit { rule: "sends-credentials", severity, capability, says })
        }
        _ => None,
    });
    sent.collect()
}

fn connects(seen: &Seen<'_>) -> Vec<Hit> {
    let mut out = Vec::new();
    for own in &seen.deeds {
        let (to, local) = match own.deed {
            // A name without a dot is this machine's or its network's.
            Deed::Resolved { name } if name.contains('.') && !name.ends_with(".arpa") => {
                (name.as_str(), false)
            }
            Deed::Connected { target, name } => {
                let inside = target.starts_with("127.") || target.starts_with("[::1]");
                let socket = target.starts_with(['/', '@']);
                (name.as_deref().unwrap_or(target), inside || socket)
            }
            _ => continue,
        };
        let severe = to.contains("docker.sock") || to.contains("ssh-");
        let (rule, severity, verb) = match () {
            () if seen.baseline.registries.contains(to) => {
                ("asks-registry", Severity::Low, "asks the client's registry")
            }
            () if local && severe => ("connects-local", Severity::High, "opens"),
            () if local => ("connects-local", Severity::Low, "opens"),
            () => ("connects", Severity::High, "opens a connection to"),
        };
        let says = format!("{verb} `{to}` {} ({})", when(own.step), own.actor);
        out.push(Hit { rule, severity, capability: "network", says });
    }
    out
}

/// Places from which programs start by themselves; those with a slash at their end are folders.
const STARTERS: &[&str] = &[
    "~/.bashrc",
    "~/.bash_profile",
    "~/.bash_login",
    "~/.bash_logout",
    "~/.profile",
    "~/.zshrc",
    "~/.zshenv",
    "~/.zprofile",
    "~/.config/fish/",
    "~/.config/autostart/",
    "~/.config/systemd/",
    "~/.local/share/systemd/",
    "~/.ssh/authorized_keys",
    "~/.ssh/config",
    "~/.ssh/rc",
    "~/.gitconfig",
    "~/.config/git/",
    "~/.npmrc",
    "~/.pip/",
    "~/.config/pip/",
    "~/.cargo/config",
    "~/.vscode/",
    "~/.claude/",
    "~/.cursor/",
    "/etc/cron",
    "/etc/init.d/",
    "/etc/ld.so.preload",
    "/etc/profile",
    "/etc/rc.local",
    "/etc/systemd/",
    "/etc/bash.bashrc",
    "/lib/systemd/",
    "/usr/lib/systemd/",
    "/var/spool/cron/",
];

fn written<'a>(seen: &'a Seen<'_>) -> impl Iterator<Item = (Own<'a>, String)> {
    seen.deeds.iter().filter_map(|own| match own.deed {
        Deed::Wrote { path } => {
            let shown = path.strip_prefix(HOME).map(|below| format!("~{below}"));
            Some((*own, shown.unwrap_or_else(|| path.clone())))
        }
        _ => None,
    })
}

fn starts_programs(path: &str) -> bool {
    let python = path.ends_with(".pth") || path.ends_with("customize.py");
    STARTERS.iter().any(|s| path.starts_with(s)) || path.contains("/.git/hooks/") || python
}

fn persists(seen: &Seen<'_>) -> Vec<Hit> {
    let starters = written(seen).filter(|(_, path)| starts_programs(path));
    starters
        .map(|(own, path)| Hit {
            rule: "persists",
            severity: Severity::Critical,
            capability: "persistence",
            says: format!(
                "writes `{path}`, from which programs start, {} ({})",
                when(own.step),
                own.actor
            ),
        })
        .collect()
}

fn writes_outside(seen: &Seen<'_>) -> Vec<Hit> {
    let caches = ["~/.cache/", "~/.npm/", "~/.local/share/", "~/.local/state/", "~/.config/"];
    let others = written(seen).filter(|(_, path)| !starts_programs(path));
    others
        .map(|(own, path)| {
            let cache = caches.iter().any(|c| path.starts_with(c)) || path == "~/.cache";
            let severity = if cache { Severity::Low } else { Severity::Moderate };
            let says = format!("writes `{path}` {} ({})", when(own.step), own.actor);
            Hit { rule: "writes-outside", severity, capability: "write", says }
        })
        .collect()
}

const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "pwsh"];

fn is_interpreter(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    SHELLS.contains(&name) || ["python", "node", "perl", "ruby", "php"].contains(&stem)
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn runs_downloaded(seen: &Seen<'_>) -> Vec<Hit> {
    let mut out = Vec::new();
    let mut fetched = false;
    for own in &seen.deeds {
        match own.deed {
            Deed::Sent { .. } => fetched = true,
            Deed::Started { program, arguments } => {
                let script = arguments.iter().skip(1).find(|a| !a.starts_with('-'));
                let script = script.filter(|_| is_interpreter(base(program)));
                let what = [Some(program), script].into_iter().flatten().find(|p| is_scratch(p));
                let Some(what) = what else { continue };
                let (rule, severity, how) = match fetched {
                    true => ("runs-downloaded", Severity::Critical, "after it fetched something"),
                    false => ("runs-scratch", Severity::Low, "from a temporary place"),
                };
                let says = format!("runs `{what}` {how}, {} ({})", when(own.step), own.actor);
                out.push(Hit { rule, severity, capability: "execute", says });
            }
            _ => {}
        }
    }
    out
}

/// Whether a program lies where nothing is installed.
fn is_scratch(path: &str) -> bool {
    let below = |folder: &str| path.starts_with(folder);
    let hidden = below("/proc/self/fd") || path.contains("memfd:");
    hidden || below("/tmp/") || below("/var/tmp/") || below("/dev/shm/") || below(HOME)
}

fn starts_shell(seen: &Seen<'_>) -> Vec<Hit> {
    let mut out = Vec::new();
    for own in &seen.deeds {
        let Deed::Started { program, arguments } = own.deed else { continue };
        let line = arguments.join(" ");
        let remote = ["/dev/tcp/", "nc -e", "ncat -e", "bash -i >&", "pty.spawn"];
        if remote.iter().any(|r| line.contains(r)) {
            let says =
                format!("gives a shell to a remote host {}: `{}`", when(own.step), cut(&line));
            let severity = Severity::Critical;
            out.push(Hit { rule: "remote-shell", severity, capability: "remote-shell", says });
            continue;
        }
        // The client itself starts shells for scripts that are declared.
        if !SHELLS.contains(&base(program)) || seen.baseline.knows(own.step, own.actor) {
            continue;
        }
        let severity = match own.step {
            "import" | "start" => Severity::Moderate,
            _ => Severity::Low,
        };
        let says = format!("starts a shell {}: `{}` ({})", when(own.step), cut(&line), own.actor);
        out.push(Hit { rule: "starts-shell", severity, capability: "execute", says });
    }
    out
}

fn cut(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(120).collect()
}

fn mines(seen: &Seen<'_>) -> Vec<Hit> {
    let words =
        ["stratum+tcp", "stratum+ssl", "xmrig", "minerd", "--donate-level", "mining.subscribe"];
    let texts = seen.deeds.iter().filter_map(|own| match own.deed {
        Deed::Started { program, arguments } => {
            Some((own, format!("{program} {}", arguments.join(" "))))
        }
        Deed::Sent { beginning, .. } => Some((own, beginning.clone())),
        _ => None,
    });
    let mining = texts.filter(|(_, text)| words.iter().any(|w| text.contains(w)));
    mining
        .map(|(own, text)| Hit {
            rule: "mines",
            severity: Severity::Critical,
            capability: "mining",
            says: format!("mines {}: `{}` ({})", when(own.step), cut(&text), own.actor),
        })
        .collect()
}

fn escapes(seen: &Seen<'_>) -> Vec<Hit> {
    let calls = seen.deeds.iter().filter_map(|own| match own.deed {
        Deed::Refused { call } => Some(Hit {
            rule: "escapes",
            severity: Severity::High,
            capability: "escape",
            says: format!(
                "asks the kernel for `{call}`, which no package needs, {} ({})",
                when(own.step),
                own.actor
            ),
        }),
        _ => None,
    });
    calls.collect()
}

fn stays(seen: &Seen<'_>) -> Vec<Hit> {
    let left = seen.left.iter().map(|(step, actor)| Hit {
        rule: "stays",
        severity: Severity::High,
        capability: "persistence",
        says: format!("leaves a program running {}: {actor}", when(step)),
    });
    left.collect()
}

fn exhausts(seen: &Seen<'_>) -> Vec<Hit> {
    let met = seen.limits.iter().map(|limit| Hit {
        rule: if *limit == "time" { "time-out" } else { "exhausts" },
        severity: Severity::Moderate,
        capability: "exhaust",
        says: format!("takes more {limit} than a run may have"),
    });
    met.collect()
}
