//! poetry.

use super::{Asked, Command, Equipment, Gate};

/// The subcommands that are told apart from options' values.
pub const SUBCOMMANDS: &[&str] = &[];

/// Asks where it fetches from.
pub fn ask(_command: &Command) -> Result<Asked, String> {
    Err("poetry is not gated yet".to_owned())
}

/// Leads it to the gate.
pub fn equip(
    _command: &Command,
    _asked: &Asked,
    _gate: &Gate<'_>,
    _e: &mut Equipment,
) -> Result<(), String> {
    Err("poetry is not gated yet".to_owned())
}
