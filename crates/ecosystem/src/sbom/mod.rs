//! Software bills of materials, written: CycloneDX 1.6 (ECMA-424) and SPDX 2.3 (ISO/IEC 5962), both in
//! JSON. `crate::inventory` reads both forms back.
//!
//! Equal bills give equal documents: neither form gets a random number, and the time is an argument.

mod cyclonedx;
mod relations;
mod spdx;
#[cfg(test)]
mod tests;

pub use relations::relations;

use crate::inventory::Listed;
use countersign_core::{Ecosystem, ExpectedDigest, Purl, Timestamp};
use std::collections::{HashMap, HashSet};

/// The forms that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BomFormat {
    /// CycloneDX 1.6.
    CycloneDx,
    /// SPDX 2.3.
    Spdx,
}

/// One package version of a bill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The version, with all qualifiers that readers need.
    pub purl: Purl,
    /// Digests of its files; of one algorithm there may be several, for several files.
    pub digests: Vec<ExpectedDigest>,
    /// What its metadata declares: SPDX expressions.
    pub declared: Vec<String>,
    /// SPDX identifiers of the licences whose texts are in its files.
    pub found: Vec<String>,
    /// Who published it, where evidence says so.
    pub supplier: Option<String>,
    /// Whether only development needs it, where a document tells.
    pub development: bool,
}

impl Component {
    /// A component of what a document lists.
    #[must_use]
    pub fn listed(listed: &Listed) -> Self {
        let mut purl = listed.purl.clone();
        if purl.ecosystem() == Ecosystem::Debian {
            if let Some((name, version)) = &listed.source {
                let own = purl.version() == Some(version);
                let upstream = if own { name.clone() } else { format!("{name}@{version}") };
                if upstream != purl.name() {
                    purl = purl.with_qualifier("upstream", &upstream);
                }
            }
            if let Some(release) = &listed.release {
                purl = purl.with_qualifier("distro", &format!("debian-{release}"));
            }
        }
        let mut digests: Vec<ExpectedDigest> =
            listed.files.iter().flat_map(|f| f.digests.iter().cloned()).collect();
        digests.sort_by_key(ToString::to_string);
        digests.dedup();
        Self { digests, development: listed.dev, ..Self::of(purl) }
    }

    /// Takes up what another listing of the same version says.
    fn join(&mut self, other: Self) {
        for digest in other.digests {
            if !self.digests.contains(&digest) {
                self.digests.push(digest);
            }
        }
        // Needed by one document is needed.
        self.development &= other.development;
    }

    /// A component of which nothing else is known.
    #[must_use]
    pub fn of(purl: Purl) -> Self {
        Self {
            purl,
            digests: Vec::new(),
            declared: Vec::new(),
            found: Vec::new(),
            supplier: None,
            development: false,
        }
    }
}

/// Pairs of places in a list: the first needs the second.
pub type Relations = Vec<(usize, usize)>;

/// A bill of materials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bom {
    /// What it is about, in words.
    pub name: String,
    /// The program that wrote it, with its version.
    pub tool: (String, String),
    /// When it was made.
    pub created: Timestamp,
    /// The components, each purl once.
    pub components: Vec<Component>,
    /// Which component (by its place) needs which other, where that is known.
    pub needs: Vec<(usize, usize)>,
    /// What is not in it, and why: in words for people.
    pub left_out: Vec<String>,
}

impl Bom {
    /// The bill of what documents list, each with the relations between places in its list. A version that
    /// is listed more than once is one component, with all digests.
    #[must_use]
    pub fn of_list(
        name: &str,
        (tool, version): (&str, &str),
        created: Timestamp,
        documents: &[(Vec<Listed>, Relations)],
    ) -> Self {
        let mut components: Vec<Component> = Vec::new();
        let mut places: HashMap<Purl, usize> = HashMap::new();
        let mut needs = Vec::new();
        for (listed, relations) in documents {
            let mut went = Vec::with_capacity(listed.len());
            for l in listed {
                let component = Component::listed(l);
                let place = *places.entry(component.purl.clone()).or_insert(components.len());
                went.push(place);
                match components.get_mut(place) {
                    None => components.push(component),
                    Some(known) => known.join(component),
                }
            }
            let moved = |(from, to): &(usize, usize)| Some((*went.get(*from)?, *went.get(*to)?));
            needs.extend(relations.iter().filter_map(moved).filter(|(from, to)| from != to));
        }
        needs.sort_unstable();
        needs.dedup();
        let (name, tool) = (name.to_owned(), (tool.to_owned(), version.to_owned()));
        Self { name, tool, created, components, needs, left_out: Vec::new() }
    }

    /// The document.
    #[must_use]
    pub fn write(&self, format: BomFormat) -> String {
        let value = match format {
            BomFormat::CycloneDx => cyclonedx::document(self),
            BomFormat::Spdx => spdx::document(self),
        };
        // A tree of texts and numbers can always be written.
        serde_json::to_string_pretty(&value).unwrap_or_default()
    }

    /// The places of what a component needs, ascending.
    fn needs_of(&self, component: usize) -> Vec<usize> {
        let mut out: Vec<usize> =
            self.needs.iter().filter(|(from, _)| *from == component).map(|(_, to)| *to).collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The places of what nothing in the bill needs.
    fn roots(&self) -> Vec<usize> {
        let needed: HashSet<usize> =
            self.needs.iter().filter(|(from, to)| from != to).map(|(_, to)| *to).collect();
        (0..self.components.len()).filter(|i| !needed.contains(i)).collect()
    }
}
