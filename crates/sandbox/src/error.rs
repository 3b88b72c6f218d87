//! What can go wrong before and beside the run itself.

/// Why there was no run, or none to its end.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel or its configuration does not give what the jail is made of.
    #[error("no jail can be made here: {0}")]
    Unavailable(String),
    /// The jail was made and its supervisor ended early.
    #[error("the jail ended early: {0}")]
    Ended(String),
    /// There is no client that could install the artifact.
    #[error("{0}")]
    NoClient(String),
    /// The artifact is not one that can be installed.
    #[error("{0}")]
    Artifact(String),
    /// A file of this machine cannot be used.
    #[error("`{path}` cannot be used: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
}

impl SandboxError {
    /// An error about a file.
    pub(crate) fn file(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), error }
    }
}
