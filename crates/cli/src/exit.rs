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
/// An audit could not judge something that it should have judged: no feed, an unreadable document,
/// a version that is not exact.
pub const NOT_CHECKED: u8 = 95;
