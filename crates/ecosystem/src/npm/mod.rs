//! npm packages: packuments, integrity values, lock files, package specs, tarball paths.

mod integrity;
mod lock;
mod name;
mod packument;
mod spec;

pub use integrity::parse_integrity;
pub use lock::{LockedPackage, parse_package_lock};
pub use name::{may_be_listed, name_from_tarball_path, validate_name};
pub use packument::{ABBREVIATED_TYPE, NpmVersion, Packument};
pub use spec::{NpmSpec, NpmSpecKind, classify_spec};
