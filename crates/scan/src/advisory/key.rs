//! Under which name an ecosystem's advisories are kept: OSV's ecosystem names.

use countersign_core::Ecosystem;

/// Debian's releases by code name. `stable` and `sid` are left out: they move.
const DEBIAN_RELEASES: [(&str, &str); 9] = [
    ("wheezy", "7"),
    ("jessie", "8"),
    ("stretch", "9"),
    ("buster", "10"),
    ("bullseye", "11"),
    ("bookworm", "12"),
    ("trixie", "13"),
    ("forky", "14"),
    ("duke", "15"),
];

/// One set of packages that advisories are kept for: an ecosystem, for Debian with a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Domain {
    pub(super) ecosystem: Ecosystem,
    /// Debian's release number; `None` is "all releases".
    release: Option<String>,
}

impl Domain {
    /// The domain of OSV's ecosystem string (`npm`, `Debian:12`); `None` for others than the
    /// gate's.
    pub(super) fn from_osv(text: &str) -> Option<Self> {
        let (name, release) = match text.split_once(':') {
            Some((name, release)) => (name, Some(release)),
            None => (text, None),
        };
        match (name, release) {
            ("PyPI", None) => Some(Self::of(Ecosystem::Pypi)),
            ("npm", None) => Some(Self::of(Ecosystem::Npm)),
            ("crates.io", None) => Some(Self::of(Ecosystem::Cargo)),
            ("Debian", None) => Some(Self::of(Ecosystem::Debian)),
            ("Go", None) => Some(Self::of(Ecosystem::Go)),
            ("Maven", None) => Some(Self::of(Ecosystem::Maven)),
            ("Debian", Some(r)) => {
                Some(Self { ecosystem: Ecosystem::Debian, release: Some(debian_release(r)?) })
            }
            _ => None,
        }
    }

    /// An ecosystem as a whole.
    pub(super) fn of(ecosystem: Ecosystem) -> Self {
        Self { ecosystem, release: None }
    }

    /// The domain to ask for a package; the release only counts on Debian. A release that is
    /// unknown keeps its own text, so that the answer can name it as not covered.
    pub(super) fn to_ask(ecosystem: Ecosystem, release: Option<&str>) -> Self {
        let release = release.filter(|_| ecosystem == Ecosystem::Debian);
        let known = release.map(|r| {
            debian_release(r)
                .unwrap_or_else(|| r.chars().filter(|c| !c.is_control()).take(64).collect())
        });
        Self { ecosystem, release: known }
    }

    /// Whether this is Debian as a whole.
    pub(super) fn is_all_debian(&self) -> bool {
        self.ecosystem == Ecosystem::Debian && self.release.is_none()
    }

    /// OSV's name of it.
    pub(super) fn name(&self) -> String {
        let base = match self.ecosystem {
            Ecosystem::Pypi => "PyPI",
            Ecosystem::Npm => "npm",
            Ecosystem::Cargo => "crates.io",
            Ecosystem::Debian => "Debian",
            Ecosystem::Go => "Go",
            Ecosystem::Maven => "Maven",
        };
        match &self.release {
            Some(release) => format!("{base}:{release}"),
            None => base.to_owned(),
        }
    }

    /// The key of a package, by its canonical name.
    pub(super) fn key(&self, package: &str) -> String {
        let name = self.ecosystem.canonical_name(package);
        format!("{}\0{name}", self.name())
    }
}

/// The release number of `bookworm`, `bookworm-security`, `12` or `12.5`.
fn debian_release(text: &str) -> Option<String> {
    let head = text.split(['-', '/', '.']).next().unwrap_or(text);
    if let Some((_, number)) = DEBIAN_RELEASES.iter().find(|(name, _)| *name == head) {
        return Some((*number).to_owned());
    }
    let is_number = !head.is_empty() && head.len() <= 3 && head.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| head.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_releases_by_number_and_by_name_are_the_same() {
        let asked = |r| Domain::to_ask(Ecosystem::Debian, Some(r)).name();
        for r in ["11", "11.7", "bullseye", "bullseye-security", "bullseye/updates"] {
            assert_eq!(asked(r), "Debian:11", "{r}");
        }
        assert_eq!(asked("sid"), "Debian:sid");
        assert_eq!(Domain::to_ask(Ecosystem::Debian, None).name(), "Debian");
        assert_eq!(Domain::to_ask(Ecosystem::Npm, Some("11")).name(), "npm");
    }

    #[test]
    fn osv_names_of_other_ecosystems_are_not_taken() {
        for text in [
            "NuGet",
            "Maven:https://repo.example",
            "npm:private",
            "Ubuntu:22.04",
            "debian:11",
            "Debian:sid",
            "",
        ] {
            assert_eq!(Domain::from_osv(text), None, "{text}");
        }
        assert_eq!(Domain::from_osv("Debian:11").unwrap().name(), "Debian:11");
        assert_eq!(Domain::from_osv("crates.io").unwrap().ecosystem, Ecosystem::Cargo);
    }

    #[test]
    fn keys_use_canonical_names() {
        let pypi = Domain::of(Ecosystem::Pypi);
        assert_eq!(pypi.key("Zope.Interface"), pypi.key("zope-interface"));
        let npm = Domain::of(Ecosystem::Npm);
        assert_ne!(npm.key("A"), npm.key("a"));
    }
}
