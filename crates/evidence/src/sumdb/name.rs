//! Names of modules and versions (Go Modules Reference, "Module paths" and "Versions").

/// Bytes of a module's path or a version.
const MAX: usize = 1024;

/// Whether a text is a module's path: elements of ASCII letters, digits and `-._~`, none of which
/// begins or ends in a dot or has two dots together. It may stand in a file's path.
pub(super) fn is_module(path: &str) -> bool {
    path.len() <= MAX && path.split('/').all(|e| is_element(e, "-._~"))
}

/// Whether a text is a version: `v` and what a semantic version may hold.
pub(super) fn is_version(version: &str) -> bool {
    let digit =
        version.strip_prefix('v').is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
    digit && version.len() <= MAX && is_element(version, "-._+~")
}

fn is_element(text: &str, more: &str) -> bool {
    let dots = text.starts_with('.') || text.ends_with('.') || text.contains("..");
    !text.is_empty() && !dots && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// Where Go keeps, and a database serves, the record of a version: `lookup/<module>@<version>`, with
/// `!` and the small letter for each capital one (Go Modules Reference, "GOPROXY protocol").
/// `None` when the names are none.
#[must_use]
pub fn lookup_path(module: &str, version: &str) -> Option<String> {
    if !is_module(module) || !is_version(version) {
        return None;
    }
    let mut out = "lookup/".to_owned();
    for c in module.chars().chain(['@']).chain(version.chars()) {
        if c.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(c.to_ascii_lowercase());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_escaped_and_lead_nowhere_else() {
        let path = lookup_path("git.example/Azure/sdk", "v1.2.3-RC1+incompatible");
        assert_eq!(
            path.as_deref(),
            Some("lookup/git.example/!azure/sdk@v1.2.3-!r!c1+incompatible")
        );
        for (module, version) in [
            ("a/../../b", "v1.0.0"),
            ("", "v1.0.0"),
            ("/a", "v1.0.0"),
            ("a", "v1.0.0/../b"),
            ("a", "v1..0"),
            ("a", "latest"),
            ("a\\b", "v1.0.0"),
            ("ä", "v1.0.0"),
        ] {
            assert_eq!(lookup_path(module, version), None, "{module} {version}");
        }
    }
}
