//! `uvx`, `uv tool` and `uv run`.

use super::{Asked, Command, Equipment, Gate};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[];

/// Whether a `uv` command runs or installs a tool.
pub fn is_tool(_words: &[std::ffi::OsString]) -> bool {
    false
}

/// Asks where it fetches from.
pub fn ask(_command: &Command, _memory: &mut dyn super::probe::Memory) -> Result<Asked, String> {
    Err("`uvx`, `uv tool` and `uv run` is not gated yet".to_owned())
}

/// Leads it to the gate.
pub fn equip(
    _command: &Command,
    _asked: &Asked,
    _gate: &Gate<'_>,
    _e: &mut Equipment,
) -> Result<(), String> {
    Err("`uvx`, `uv tool` and `uv run` is not gated yet".to_owned())
}
