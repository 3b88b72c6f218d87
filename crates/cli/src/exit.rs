//! Exit codes. The client's own code passes through unless the gate has something to say.

/// The gate refused something and the client failed for it.
pub const REFUSED: u8 = 90;
/// The gate held something and the client failed for it: time or a person can release it.
pub const HELD: u8 = 91;
/// Something was installed that the gate did not admit.
pub const UNGATED: u8 = 92;
/// An upstream failed.
pub const UPSTREAM: u8 = 93;
/// The gate itself failed, or cannot gate this command.
pub const INTERNAL: u8 = 94;
/// The command line or a file that it names cannot be used.
pub const USAGE: u8 = 2;

/// The table of exit codes for help texts.
pub const HELP: &str = "\
Exit codes of `run`:
  the client's own, when everything that it took was admitted
  90  refused: policy refused an artifact and the client failed
  91  held: an artifact waits for its cool-down or for a person
  92  ungated: something was installed that the gate did not admit
  93  upstream failed: a registry could not be used
  94  internal: the gate failed, or cannot gate this command";
