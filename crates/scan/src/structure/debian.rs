//! Debian packages: the control file and maintainer scripts.

use super::contents::Contents;
use super::{Declared, Notes};
use countersign_core::Severity;
use countersign_ecosystem::debian::parse_control;

/// Scripts that dpkg and debconf run (Debian Policy, chapter 6; debconf-devel(7)).
const SCRIPTS: [&str; 5] = ["preinst", "postinst", "prerm", "postrm", "config"];

pub(super) fn examine(contents: &Contents, notes: &mut Notes) -> Option<Declared> {
    for script in SCRIPTS {
        let path = format!("control/{script}");
        if contents.has(&path) {
            notes.hook(script, script, format!("dpkg runs the script {script}"), Some(&path));
        }
    }
    let Some((_, file)) = contents.in_top_directory("control").next_back() else {
        let title = "the package has no `control` file".to_owned();
        notes.structure("metadata-missing", Severity::High, title, None);
        return None;
    };
    match parse_control(&file.content) {
        Ok(control) => Some(Declared { name: control.package, version: control.version }),
        Err(e) => {
            notes.structure("metadata-malformed", Severity::High, e.to_string(), Some(&file.path));
            None
        }
    }
}
