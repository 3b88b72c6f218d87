//! Passphrases and PINs: from a file, a command, the environment, or a person at a terminal.

use crate::context::Failed;
use crate::print;
use countersign_engine::signer::{Secret, Zeroizing};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The variable that may hold it.
const VARIABLE: &str = "COUNTERSIGN_PASSPHRASE";

/// Longest passphrase, in bytes.
const MAX_LENGTH: u64 = 4096;

/// Where a passphrase or a token's PIN comes from.
#[derive(clap::Args, Clone, Default)]
pub struct SecretArgs {
    /// File whose first line is the key's passphrase, or the token's PIN
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_command")]
    passphrase_file: Option<PathBuf>,
    /// Command (for sh) whose first line of output it is; otherwise COUNTERSIGN_PASSPHRASE, or a prompt
    #[arg(long, value_name = "COMMAND")]
    passphrase_command: Option<String>,
}

impl SecretArgs {
    /// Gets it. `what` says what is asked for; a new one is asked for twice.
    pub fn get(&self, what: &str, new: bool) -> Result<Secret, Failed> {
        if let Some(file) = &self.passphrase_file {
            let shown = file.display();
            let fail = |e| Failed::usage(format!("`{shown}` cannot be read: {e}"));
            let file = std::fs::File::open(file).map_err(fail)?;
            let mut text = Zeroizing::new(String::new());
            file.take(MAX_LENGTH).read_to_string(&mut text).map_err(fail)?;
            return first_line(text, &format!("`{shown}`"));
        }
        if let Some(command) = &self.passphrase_command {
            return first_line(output(command)?, "the output of --passphrase-command");
        }
        if let Some(text) = std::env::var_os(VARIABLE) {
            let text = text
                .into_string()
                .map_err(|_| Failed::usage(format!("{VARIABLE} is not UTF-8")))?;
            return first_line(Zeroizing::new(text), VARIABLE);
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Failed::usage(format!(
                "the {what} is wanted, and there is no terminal to ask at; give it with \
                 --passphrase-file, --passphrase-command or {VARIABLE}"
            )));
        }
        let given = ask(&format!("{what}: "))?;
        if new && *ask(&format!("{what}, once more: "))? != *given {
            return Err(Failed::usage(format!("the two are not the same {what}")));
        }
        Ok(given)
    }
}

fn first_line(text: Zeroizing<String>, from: &str) -> Result<Secret, Failed> {
    match text.lines().next().filter(|l| !l.is_empty()) {
        Some(line) => Ok(Zeroizing::new(line.to_owned())),
        None => Err(Failed::usage(format!("{from} is empty"))),
    }
}

fn output(command: &str) -> Result<Zeroizing<String>, Failed> {
    let fail = |e: &dyn std::fmt::Display| Failed::usage(format!("--passphrase-command: {e}"));
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| fail(&e))?;
    let mut text = Zeroizing::new(String::new());
    if let Some(out) = child.stdout.take() {
        out.take(MAX_LENGTH).read_to_string(&mut text).map_err(|e| fail(&e))?;
    }
    let ended = child.wait().map_err(|e| fail(&e))?;
    if ended.success() { Ok(text) } else { Err(fail(&format_args!("it ended with {ended}"))) }
}

/// Asks at the terminal, which does not show what is typed.
fn ask(prompt: &str) -> Result<Secret, Failed> {
    let failed = |e: &dyn std::fmt::Display| Failed::internal(format!("the terminal: {e}"));
    let mut err = std::io::stderr();
    err.write_all(prompt.as_bytes()).and_then(|()| err.flush()).map_err(|e| failed(&e))?;
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(|e| failed(&e))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|e| failed(&e))?;
    let mut line = Zeroizing::new(String::new());
    let read = stdin.lock().read_line(&mut line);
    let restored = tcsetattr(&stdin, OptionalActions::Flush, &before);
    print::error_line("");
    read.map_err(|e| failed(&e))?;
    restored.map_err(|e| failed(&e))?;
    first_line(line, "what was typed")
}
