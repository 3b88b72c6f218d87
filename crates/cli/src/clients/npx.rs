//! `npx` and `npm exec`.

use super::{Asked, Command, Equipment, Gate};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[];

/// Whether an `npm` command is `npm exec`.
pub fn is_exec(_words: &[std::ffi::OsString]) -> bool {
    false
}

/// Asks where it fetches from.
pub fn ask(_command: &Command) -> Result<Asked, String> {
    Err("`npx` and `npm exec` is not gated yet".to_owned())
}

/// Leads it to the gate.
pub fn equip(
    _command: &Command,
    _asked: &Asked,
    _gate: &Gate<'_>,
    _e: &mut Equipment,
) -> Result<(), String> {
    Err("`npx` and `npm exec` is not gated yet".to_owned())
}
