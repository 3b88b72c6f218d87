//! What comes out of the jail.

use countersign_sandbox::fuzzing;

/// A DNS question, or the first bytes of a connection, as the sinkhole gets them.
pub fn sinkhole(data: &[u8]) {
    fuzzing::dns(data);
    fuzzing::stream(data);
}
