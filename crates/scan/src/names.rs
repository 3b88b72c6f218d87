//! Names near those of popular packages: what somebody types by mistake, or reads wrongly.
//!
//! Which packages are popular is data that the user gives, in the order of rank. A name that is on the
//! list is near nobody. Short names are near each other by nature: of those only what the eye mixes up
//! counts.

use countersign_core::{Ecosystem, Finding, FindingKind, Purl, Severity};
use std::collections::{HashMap, HashSet};

/// The finding's id.
pub const NEAR_POPULAR: &str = "name.near-popular";

/// Names on one list, over all ecosystems.
const MAX_NAMES: usize = 200_000;
/// Letters that a name must have before a slip of one letter counts.
const LONG: usize = 6;

/// How a name is near another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// They look the same (`0` for `o`, `rn` for `m`).
    Homoglyph,
    /// Only separators differ (`react-dom`, `reactdom`).
    Separator,
    /// It takes the name of a scoped package, or of its scope (`@types/node`, `types-node`).
    Scope,
    /// Two neighbouring letters change places.
    Swap,
    /// A letter is left out.
    Omission,
    /// A letter is too many.
    Addition,
    /// A letter is another one.
    Replacement,
}

impl Likeness {
    /// In words for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Homoglyph => "it looks the same",
            Self::Separator => "only separators differ",
            Self::Scope => "its scope is written into the name",
            Self::Swap => "two letters change places",
            Self::Omission => "a letter is left out",
            Self::Addition => "a letter is too many",
            Self::Replacement => "a letter is another one",
        }
    }
}

/// What is wrong with a list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A line is no package URL.
    #[error("line {line}: `{text}` is no package URL; write one a line, as `pkg:npm/lodash`")]
    NoPurl {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// There are more names than a list has.
    #[error("there are more than {MAX_NAMES} names")]
    TooMany,
}

/// Popular names, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Popular {
    names: Vec<(Ecosystem, String)>,
    known: HashSet<(Ecosystem, String)>,
    /// What names look like when what the eye mixes up is one, without separators and scopes.
    skeletons: HashMap<(Ecosystem, String), usize>,
    /// Names with one letter left out.
    shorter: HashMap<(Ecosystem, String), Vec<usize>>,
}

impl Popular {
    /// Reads a list: a package URL a line, the most popular first; `#` begins a comment.
    ///
    /// # Errors
    /// When a line is no package URL, or there are too many.
    pub fn parse(text: &str) -> Result<Self, ListError> {
        let mut out = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let wrong =
                || ListError::NoPurl { line: number + 1, text: crate::structure::printable(line) };
            let purl: Purl = line.parse().map_err(|_| wrong())?;
            out.add(purl.ecosystem(), purl.name())?;
        }
        Ok(out)
    }

    fn add(&mut self, ecosystem: Ecosystem, name: &str) -> Result<(), ListError> {
        let name = ecosystem.canonical_name(name);
        if self.names.len() >= MAX_NAMES {
            return Err(ListError::TooMany);
        }
        if !self.known.insert((ecosystem, name.clone())) {
            return Ok(());
        }
        let index = self.names.len();
        // The more popular of two names keeps the place.
        self.skeletons.entry((ecosystem, skeleton(&name))).or_insert(index);
        if name.chars().count() >= LONG {
            for shorter in without_one(&name) {
                self.shorter.entry((ecosystem, shorter)).or_default().push(index);
            }
        }
        self.names.push((ecosystem, name));
        Ok(())
    }

    /// Adds another list, whose names count as less popular.
    ///
    /// # Errors
    /// When there are too many names.
    pub fn extend(&mut self, other: &Self) -> Result<(), ListError> {
        other.names.iter().try_for_each(|(ecosystem, name)| self.add(*ecosystem, name))
    }

    /// How many names there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// The popular name that a name is near, and how.
    #[must_use]
    pub fn near(&self, ecosystem: Ecosystem, name: &str) -> Option<(&str, Likeness)> {
        let name = ecosystem.canonical_name(name);
        if self.known.contains(&(ecosystem, name.clone())) {
            return None;
        }
        // Whoever may publish in the scope of a popular package is its own publisher.
        if let Some((scope, _)) = name.split_once('/')
            && self
                .names
                .iter()
                .any(|(e, n)| *e == ecosystem && n.split_once('/').is_some_and(|(s, _)| s == scope))
        {
            return None;
        }
        let same = self.skeletons.get(&(ecosystem, skeleton(&name)));
        if let Some((_, popular)) = same.and_then(|index| self.names.get(*index)) {
            return Some((popular, alike(popular, &name)));
        }
        self.slip(ecosystem, &name)
    }

    /// The most popular name that one slip makes of it.
    fn slip(&self, ecosystem: Ecosystem, name: &str) -> Option<(&str, Likeness)> {
        if name.chars().count() + 1 < LONG {
            return None;
        }
        let shorter = |text: &str| self.shorter.get(&(ecosystem, text.to_owned()));
        let mut near: Vec<usize> = shorter(name).into_iter().flatten().copied().collect();
        for variant in without_one(name) {
            near.extend(shorter(&variant).into_iter().flatten());
            let longer = variant.chars().count() >= LONG
                && self.known.contains(&(ecosystem, variant.clone()));
            near.extend(
                self.names.iter().position(|(e, n)| longer && *e == ecosystem && *n == variant),
            );
        }
        near.sort_unstable();
        let candidates = near.iter().filter_map(|index| self.names.get(*index));
        candidates.filter_map(|(_, popular)| Some((popular.as_str(), slip(popular, name)?))).next()
    }

    /// The finding about a name, if it is near another.
    #[must_use]
    pub fn finding(&self, purl: &Purl) -> Option<Finding> {
        let (popular, likeness) = self.near(purl.ecosystem(), purl.name())?;
        Some(Finding {
            id: NEAR_POPULAR.to_owned(),
            aliases: vec![popular.to_owned()],
            kind: FindingKind::Suspicious,
            severity: Severity::Low,
            title: format!("its name is near that of `{popular}`: {}", likeness.words()),
            fixed_in: None,
            path: None,
            observed: None,
            exploitation: None,
            vex: Vec::new(),
        })
    }
}

/// A name without what the eye passes over.
fn skeleton(name: &str) -> String {
    let plain: String =
        name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | '@' | '/')).collect();
    plain.replace("rn", "m").replace("vv", "w").replace('0', "o").replace(['1', 'i'], "l")
}

/// How two names are alike that look the same.
fn alike(popular: &str, name: &str) -> Likeness {
    let plain = |text: &str| -> String {
        text.chars().filter(|c| !matches!(c, '-' | '_' | '.' | '@' | '/')).collect()
    };
    if plain(popular) != plain(name) {
        Likeness::Homoglyph
    } else if popular.contains('/') || name.contains('/') {
        Likeness::Scope
    } else {
        Likeness::Separator
    }
}

/// The slip that makes `name` of `popular`, if one does.
fn slip(popular: &str, name: &str) -> Option<Likeness> {
    let (p, n): (Vec<char>, Vec<char>) = (popular.chars().collect(), name.chars().collect());
    // Versions of one project have numbers: `python3` is not `python2`.
    let digits = |text: &[char]| text.iter().filter(|c| c.is_ascii_digit()).count();
    if digits(&p) + digits(&n) > 0 {
        return None;
    }
    let first = p.iter().zip(&n).position(|(a, b)| a != b).unwrap_or(p.len().min(n.len()));
    let rest = |text: &[char], from: usize| text.get(from..).map(<[char]>::to_vec);
    match (p.len(), n.len()) {
        (a, b) if a == b + 1 => {
            // What ends without its `s` is another word, and often another package.
            let plural = first == b && p.last() == Some(&'s');
            (rest(&p, first + 1) == rest(&n, first) && !plural).then_some(Likeness::Omission)
        }
        (a, b) if a + 1 == b => {
            let plural = first == a && n.last() == Some(&'s');
            (rest(&p, first) == rest(&n, first + 1) && !plural).then_some(Likeness::Addition)
        }
        (a, b) if a == b => {
            let swapped = p.get(first) == n.get(first + 1) && p.get(first + 1) == n.get(first);
            if swapped && first + 1 < a && rest(&p, first + 2) == rest(&n, first + 2) {
                Some(Likeness::Swap)
            } else if rest(&p, first + 1) == rest(&n, first + 1) && a > LONG {
                Some(Likeness::Replacement)
            } else {
                None
            }
        }
        _ => None,
    }
}

fn without_one(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut all: Vec<String> = (0..letters.len())
        .map(|skip| {
            letters.iter().enumerate().filter(|(i, _)| *i != skip).map(|(_, c)| c).collect()
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use Likeness as L;

    fn popular() -> Popular {
        let list = "# by rank\npkg:npm/lodash\npkg:npm/react\npkg:npm/react-dom\npkg:npm/%40babel/core\npkg:npm/express # web\n\
            pkg:npm/cross-env\npkg:npm/colors\npkg:npm/vue\npkg:pypi/requests\npkg:pypi/python-dateutil\npkg:pypi/Django\npkg:cargo/rustdecimal\n\
            pkg:npm/%40types/node\npkg:npm/chalk\npkg:npm/commander\n";
        Popular::parse(list).unwrap()
    }

    #[test]
    fn names_that_were_typed_wrongly_on_purpose() {
        let popular = popular();
        for (ecosystem, name, want, how) in [
            (Ecosystem::Pypi, "reqeusts", "requests", L::Swap),
            (Ecosystem::Pypi, "requsts", "requests", L::Omission),
            (Ecosystem::Pypi, "requessts", "requests", L::Addition),
            (Ecosystem::Pypi, "requesta", "requests", L::Replacement),
            (Ecosystem::Pypi, "dj4ngo-x", "", L::Swap),
            (Ecosystem::Pypi, "pythondateutil", "python-dateutil", L::Separator),
            (Ecosystem::Npm, "crossenv", "cross-env", L::Separator),
            (Ecosystem::Npm, "cross-env.js", "", L::Swap),
            (Ecosystem::Npm, "l0dash", "lodash", L::Homoglyph),
            (Ecosystem::Npm, "1odash", "lodash", L::Homoglyph),
            (Ecosystem::Npm, "cornmander", "commander", L::Addition),
            (Ecosystem::Npm, "lodahs", "lodash", L::Swap),
            (Ecosystem::Npm, "babel-core", "@babel/core", L::Scope),
            (Ecosystem::Npm, "types-node", "@types/node", L::Scope),
            (Ecosystem::Npm, "@bable/core", "@babel/core", L::Swap),
            (Ecosystem::Cargo, "rustdecimall", "rustdecimal", L::Addition),
        ] {
            let got = popular.near(ecosystem, name);
            match want {
                "" => assert_eq!(got, None, "{name}"),
                want => assert_eq!(got.map(|(n, _)| n), Some(want), "{name}"),
            }
            if name != "cornmander" && !want.is_empty() {
                assert_eq!(got.map(|(_, h)| h), Some(how), "{name}");
            }
        }
    }

    #[test]
    fn honest_names_are_near_nobody() {
        let popular = popular();
        for name in [
            "lodash",
            "React",
            "preact",
            "vite",
            "vue2",
            "color",
            "chalks",
            "expres-ive",
            "@babel/cors",
            "@types/nodes",
            "commanders",
            "left-pad",
            "reach",
            "redact",
        ] {
            assert_eq!(popular.near(Ecosystem::Npm, name), None, "{name}");
        }
        assert_eq!(popular.near(Ecosystem::Cargo, "reqeusts"), None, "another ecosystem's");
        assert_eq!(popular.near(Ecosystem::Pypi, "Requests"), None);
    }

    #[test]
    fn lists_are_read_strictly_and_findings_name_the_other() {
        let error = Popular::parse("pkg:npm/a\nlodash\n").unwrap_err();
        assert_eq!(error, ListError::NoPurl { line: 2, text: "lodash".to_owned() });
        let purl: Purl = "pkg:pypi/reqeusts@1.0".parse().unwrap();
        let finding = popular().finding(&purl).unwrap();
        assert_eq!(
            (finding.id.as_str(), finding.aliases),
            (NEAR_POPULAR, vec!["requests".to_owned()])
        );
        assert!(finding.title.contains("`requests`: two letters change places"));
        let mut all = Popular::default();
        all.extend(&popular()).unwrap();
        assert_eq!(all.count(), popular().count());
    }
}
