//! Python packages: project pages (PEP 503, PEP 691), file names, requirements, `uv.lock`.

mod filename;
mod html;
mod json;
mod loose;
mod page;
mod release;
mod requirements;
mod spec;
mod uv_lock;
mod write;

pub use countersign_core::normalize_pypi_name as normalize_name;
pub use filename::{DistFile, FileKind, parse_file_name, parse_file_name_for};
pub use page::{IndexFile, ProjectPage, parse_project};
pub use release::parse_release_info;
pub use requirements::{RequirementKind, RequirementLine, parse_requirements};
pub use spec::{Spec, classify_spec};
pub use uv_lock::{LockedDist, LockedFile, SourceKind, parse_uv_lock};
pub use write::{API_VERSION, HTML_TYPE, JSON_TYPE, root_html};

/// Whether the text is a Python project name: ASCII letters, digits, `.`, `_` and `-`, with a
/// letter or digit at both ends (core metadata, "Name").
#[must_use]
pub fn validate_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= 214
        && ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
