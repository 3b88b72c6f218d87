//! What can be wrong with a VEX document.

/// Why a VEX document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VexError {
    /// It is larger than the limit.
    #[error("VEX document is larger than {limit} bytes; split it")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It states more than the limit.
    #[error("VEX document makes more than {limit} statements; split it")]
    TooMany {
        /// The limit, in statements.
        limit: usize,
    },
    /// It is not of its form.
    #[error(
        "VEX document cannot be read: {because}; write OpenVEX or CSAF (profile csaf_vex) in JSON"
    )]
    Malformed {
        /// Why not.
        because: String,
    },
}

impl VexError {
    pub(super) fn malformed(because: String) -> Self {
        let because = because.chars().take(200).map(|c| if c.is_control() { ' ' } else { c });
        Self::Malformed { because: because.collect() }
    }
}
