//! `npx` and `npm exec`: packages that are installed into a folder of npm's cache, and run from there.

use super::node::{self, read_words};
use super::{Asked, Command, Equipment, Gate, npm, option_values, probe};
use countersign_engine::account::NpmPlan;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &["exec", "x", "init", "create", "innit"];

/// npm's other subcommands that take words which could be one of these.
const INSTALLING: &[&str] =
    &["install", "i", "add", "ci", "update", "up", "run", "run-script", "view", "uninstall"];

/// Whether an `npm` command is `npm exec`, or `npm init` and `npm create`, which are `npm exec` of
/// another name.
pub fn is_exec(words: &[OsString]) -> bool {
    let words = words.iter().skip(1).map(|w| w.to_string_lossy()).take_while(|w| w != "--");
    let mut known =
        words.filter(|w| SUBCOMMANDS.contains(&w.as_ref()) || INSTALLING.contains(&w.as_ref()));
    known.next().is_some_and(|w| SUBCOMMANDS.contains(&w.as_ref()))
}

/// The words that npm reads for itself, and the first that names a package.
fn own_words(command: &Command) -> (Vec<String>, Option<String>) {
    let npx = !is_exec(&[command.program.clone(), command.args.clone()].concat());
    let mut own = Vec::new();
    let mut first = None;
    let texts = command.texts();
    let mut words = texts.iter().take_while(|w| *w != "--").peekable();
    let sub = if npx { None } else { command.subcommand() };
    let mut seen_sub = npx;
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            own.push(word.clone());
            // An option that is not known may take a value, and then more of npx's own follow.
            let flags = ["-y", "--yes", "-q", "--quiet", "--no", "--no-install", "-s", "--silent"];
            if !word.contains('=') && !flags.contains(&word.as_str()) {
                own.extend(words.next_if(|w| !w.starts_with('-')).cloned());
            }
        } else if !seen_sub && Some(word) == sub.as_ref() {
            seen_sub = true;
        } else {
            first.get_or_insert_with(|| word.clone());
            // npx hands everything after the package on; npm reads its own options to the end.
            if npx {
                break;
            }
        }
    }
    if first.is_none() {
        first = texts.iter().skip_while(|w| *w != "--").nth(1).cloned();
    }
    (own, first)
}

/// Asks npm for its registries, and reads which packages are named.
pub fn ask(command: &Command) -> Result<Asked, String> {
    let (own, first) = own_words(command);
    if let Some(option) = own.iter().find(|a| npm::leads_away(a)) {
        return Err(format!(
            "`{option}` would lead npm past the gate; set it in the environment instead"
        ));
    }
    let mut asked = Asked::default();
    npm::ask_config(npm_beside(command).as_os_str(), &own, &mut asked)?;
    let root = node::project(None);
    let mut named = option_values(&own, "--package", Some("-p"));
    if named.is_empty() && !own.iter().any(|o| o == "-c" || o.starts_with("--call")) {
        let sub = command.subcommand().unwrap_or_default();
        let creates = matches!(sub.as_str(), "init" | "create" | "innit");
        // `npm init thing` runs `create-thing`.
        named.extend(first.filter(|_| !creates));
    }
    read_words(&named, &root, &mut asked);
    node::check_archives(&asked)?;
    let plan = NpmPlan {
        root,
        search_in_run: vec![PathBuf::from("npm-cache/_npx")],
        expected: true,
        ..NpmPlan::default()
    };
    node::set_plan(plan, &mut asked);
    Ok(asked)
}

/// The npm that belongs to this npx.
fn npm_beside(command: &Command) -> OsString {
    let program = node::program(command);
    if Path::new(&program).file_name().is_some_and(|n| n == "npm") {
        return program;
    }
    let beside = probe::which(&program).map(|p| p.with_file_name("npm")).filter(|p| p.is_file());
    beside.map_or_else(|| OsString::from("npm"), PathBuf::into_os_string)
}

/// Leads it to the gate.
pub fn equip(
    _command: &Command,
    asked: &Asked,
    gate: &Gate<'_>,
    e: &mut Equipment,
) -> Result<(), String> {
    npm::equip(asked, gate, e)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Command {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        Command::detect(&words).unwrap()
    }

    #[test]
    fn what_npx_reads_itself_is_told_from_what_it_hands_on() {
        for (text, own, first) in [
            ("npx cowsay --proxy", "", "cowsay"),
            ("npx -y cowsay@1 hi", "-y", "cowsay@1"),
            ("npx -p a -p b c", "-p a -p b", "c"),
            ("npx --odd x --proxy y", "--odd x --proxy y", ""),
            ("npx --yes -- a --proxy", "--yes", "a"),
            ("npm exec cowsay --proxy=x", "--proxy=x", "cowsay"),
            ("npm x -- cowsay --proxy=x", "", "cowsay"),
        ] {
            let (words, package) = own_words(&command(text));
            assert_eq!(
                (words.join(" ").as_str(), package.as_deref().unwrap_or("")),
                (own, first),
                "{text}"
            );
        }
    }

    #[test]
    fn npm_exec_is_told_from_npm_install() {
        for (text, want) in [
            ("npm exec x", true),
            ("npm --yes x cowsay", true),
            ("npm create vite", true),
            ("npm install x", false),
            ("npm run x", false),
            ("npm ci", false),
        ] {
            let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
            assert_eq!(is_exec(&words), want, "{text}");
        }
    }
}
