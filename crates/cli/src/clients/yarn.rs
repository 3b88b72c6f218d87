//! yarn: which of the two it is, it says itself.

use super::node::{self, read_words};
use super::{Asked, Command, Equipment, Gate, option_values, probe, yarn_berry, yarn_classic};
use countersign_ecosystem::inventory::Format;
use countersign_engine::account::Plan;
use std::path::Path;

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[
    "install",
    "add",
    "up",
    "upgrade",
    "upgrade-interactive",
    "remove",
    "dlx",
    "global",
    "create",
    "init",
    "import",
    "link",
    "unlink",
    "dedupe",
    "rebuild",
    "workspaces",
    "workspace",
    "run",
    "exec",
    "node",
    "config",
    "cache",
    "set",
    "plugin",
    "patch",
    "patch-commit",
    "unplug",
    "why",
    "info",
    "list",
    "outdated",
    "audit",
    "check",
    "pack",
    "publish",
    "npm",
    "version",
    "constraints",
    "stage",
    "bin",
    "dir",
    "test",
    "start",
];

/// Asks yarn for its registries, and reads which versions are named.
pub fn ask(command: &Command) -> Result<Asked, String> {
    let args = command.texts();
    let mut asked = Asked::default();
    let program = node::program(command);
    let folder = node::project(option_values(&args, "--cwd", None).pop());
    let env = node::COREPACK.map(|(n, v)| (n.to_owned(), v.to_owned()));
    let version = probe::output_in(&program, &["--version"], &env, &folder)?;
    let berry = !version.trim().starts_with("1.") && !version.trim().starts_with("0.");
    node::name_corepack(command, &mut asked);
    let sub = command.subcommand().unwrap_or_else(|| "install".to_owned());
    let root = node::workspace(&folder, &["yarn.lock"]);
    let words = package_words(&args, &sub);
    read_words(&words, &folder, &mut asked);
    if !matches!(sub.as_str(), "dlx" | "create" | "global") {
        node::read_manifests(&root, &mut asked);
    }
    if matches!(sub.as_str(), "install" | "add" | "dlx" | "global") {
        node::check_archives(&asked)?;
    }
    node::read_lock(&root.join("yarn.lock"), Format::YarnLock, &mut asked);
    let project =
        Project { program: &program, folder: &folder, root: &root, args: &args, sub: &sub };
    if berry {
        yarn_berry::ask(&project, &mut asked)?;
    } else {
        yarn_classic::ask(&project, &mut asked)?;
    }
    Ok(asked)
}

/// What the command works on.
pub struct Project<'p> {
    /// The program.
    pub program: &'p std::ffi::OsStr,
    /// The folder of the nearest package.json.
    pub folder: &'p Path,
    /// The folder of the lock file.
    pub root: &'p Path,
    /// The command's arguments.
    pub args: &'p [String],
    /// The subcommand.
    pub sub: &'p str,
}

/// The packages that a command names.
fn package_words(args: &[String], sub: &str) -> Vec<String> {
    let mut named = Vec::new();
    let all: Vec<&String> = args.iter().take_while(|w| *w != "--").collect();
    let words = all.iter().skip_while(|w| **w != sub).skip(1).filter(|w| !w.starts_with('-'));
    match sub {
        "add" | "up" | "upgrade" | "remove" => named.extend(words.map(|w| (*w).clone())),
        "global" => named.extend(words.skip(1).map(|w| (*w).clone())),
        "dlx" => {
            named = option_values(args, "--package", Some("-p"));
            if named.is_empty() {
                named.extend(words.take(1).map(|w| (*w).clone()));
            }
        }
        // `yarn workspace name add thing`.
        "workspace" => named.extend(words.skip(2).map(|w| (*w).clone())),
        _ => {}
    }
    // Values of options (`--registry x`) are addresses, which would be read as side doors.
    let values = option_values(args, "--registry", None);
    named.retain(|w| !values.contains(w));
    named
}

/// Leads it to the gate.
pub fn equip(
    command: &Command,
    asked: &Asked,
    gate: &Gate<'_>,
    e: &mut Equipment,
) -> Result<(), String> {
    node::equip(e);
    node::without_general_proxies(e);
    let berry = matches!(&asked.account, Plan::Npm(plan) if plan.pnp.is_some());
    if berry {
        yarn_berry::equip(command, gate, e);
    } else {
        yarn_classic::equip(asked, gate, e)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_among_a_commands_words() {
        let words = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        for (text, sub, want) in [
            ("add -D a b@1 --registry http://r.example", "add", "a b@1"),
            ("global add tool", "global", "tool"),
            ("dlx -p a b", "dlx", "a"),
            ("dlx cowsay hi", "dlx", "cowsay"),
            ("install", "install", ""),
            ("workspace one add a", "workspace", "a"),
        ] {
            assert_eq!(package_words(&words(text), sub).join(" "), want, "{text}");
        }
    }
}
