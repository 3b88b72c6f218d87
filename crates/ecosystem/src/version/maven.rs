//! Versions of Maven artifacts: the "version order specification" of Maven's POM reference, with what
//! it leaves open read as Maven 3.8 reads it (later ones differ in a few odd spellings, such as `1-ga-1`).
//!
//! A version is a list of numbers and words. After each hyphen, at each change between digits and
//! letters, and before each word, a list within that list begins.

use std::cmp::Ordering;

/// Words with a place of their own, ascending; the empty one is the release itself.
const WORDS: [&str; 7] = ["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
/// The place of the release among [`WORDS`].
const RELEASE: usize = 5;
/// Longest version that is read, in characters: bounds how deep lists lie. Maven 4 has the same.
const MAX_LEN: usize = 256;

/// One item of a version.
#[derive(Debug, Clone)]
enum Item {
    /// Digits without leading zeros; none is zero.
    Number(String),
    Word(String),
    List(Vec<Item>),
}

/// A version that was read. Those that Maven does not tell apart are equal (`1-ga` and `1`).
#[derive(Debug, Clone)]
pub(super) struct Version(Vec<Item>);

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        lists(&self.0, &other.0)
    }
}

impl Version {
    /// Reads a version. Almost any text is one; blanks and control characters are in none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let sound = !text.is_empty()
            && text.chars().count() <= MAX_LEN
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        sound.then(|| Self(Parser::default().read(&text.to_lowercase())))
    }

    /// Whether a word of it comes before the release.
    pub(super) fn is_prerelease(&self) -> bool {
        fn early(item: &Item) -> bool {
            match item {
                Item::Number(_) => false,
                Item::Word(word) => rank(word).0 < RELEASE,
                Item::List(items) => items.iter().any(early),
            }
        }
        self.0.iter().any(early)
    }
}

/// The lists that are open, the innermost last: what comes goes there, and nothing goes to the others
/// any more.
struct Parser {
    open: Vec<Vec<Item>>,
}

impl Default for Parser {
    fn default() -> Self {
        Self { open: vec![Vec::new()] }
    }
}

impl Parser {
    fn push(&mut self, item: Item) {
        if let Some(list) = self.open.last_mut() {
            list.push(item);
        }
    }

    /// Adds a word. After a dot it counts as after a hyphen: in a list of its own.
    fn push_word(&mut self, text: &str, before_digit: bool) {
        if self.open.last().is_some_and(|list| !list.is_empty()) {
            self.open.push(Vec::new());
        }
        self.push(word(text, before_digit));
    }

    fn read(mut self, text: &str) -> Vec<Item> {
        let (mut start, mut digits) = (0, false);
        let piece = |from: usize, to: usize| text.get(from..to).unwrap_or("");
        for (at, c) in text.char_indices() {
            match c {
                '.' | '-' => {
                    self.push(match (at == start, digits) {
                        (true, _) => number(""),
                        (false, true) => number(piece(start, at)),
                        (false, false) => word(piece(start, at), false),
                    });
                    if c == '-' {
                        self.open.push(Vec::new());
                    }
                    start = at + 1;
                }
                '0'..='9' => {
                    if !digits && at > start {
                        self.push_word(piece(start, at), true);
                        self.open.push(Vec::new());
                        start = at;
                    }
                    digits = true;
                }
                _ => {
                    if digits && at > start {
                        self.push(number(piece(start, at)));
                        self.open.push(Vec::new());
                        start = at;
                    }
                    digits = false;
                }
            }
        }
        match piece(start, text.len()) {
            "" => {}
            last if digits => self.push(number(last)),
            last => self.push_word(last, false),
        }
        self.close()
    }

    /// Closes the lists from the innermost outwards.
    fn close(self) -> Vec<Item> {
        let mut inner: Option<Vec<Item>> = None;
        for mut list in self.open.into_iter().rev() {
            list.extend(inner.take().map(Item::List));
            inner = Some(trimmed(list));
        }
        inner.unwrap_or_default()
    }
}

fn number(text: &str) -> Item {
    Item::Number(text.trim_start_matches('0').to_owned())
}

fn word(text: &str, before_digit: bool) -> Item {
    let text = match text {
        "a" if before_digit => "alpha",
        "b" if before_digit => "beta",
        "m" if before_digit => "milestone",
        "ga" | "final" | "release" => "",
        "cr" => "rc",
        other => other,
    };
    Item::Word(text.to_owned())
}

/// Without what means nothing, back from the end to the first item that means something; a list is
/// passed over.
fn trimmed(mut list: Vec<Item>) -> Vec<Item> {
    for at in (0..list.len()).rev() {
        match list.get(at) {
            Some(Item::Number(text) | Item::Word(text)) if text.is_empty() => drop(list.remove(at)),
            Some(Item::List(items)) if items.is_empty() => drop(list.remove(at)),
            Some(Item::List(_)) => {}
            _ => break,
        }
    }
    list
}

/// The place of a word: known ones in their order, then all others by their letters.
fn rank(word: &str) -> (usize, &str) {
    match WORDS.iter().position(|w| *w == word) {
        Some(at) => (at, ""),
        None => (WORDS.len(), word),
    }
}

fn numbers(a: &str, b: &str) -> Ordering {
    (a.len(), a).cmp(&(b.len(), b))
}

/// An item against nothing.
fn alone(item: &Item) -> Ordering {
    match item {
        Item::Number(n) => numbers(n, ""),
        Item::Word(w) => rank(w).cmp(&rank("")),
        Item::List(items) => first_unequal(items.iter().map(alone)),
    }
}

fn first_unequal(mut all: impl Iterator<Item = Ordering>) -> Ordering {
    all.find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
}

/// Words come before lists, lists before numbers.
fn items(a: &Item, b: &Item) -> Ordering {
    use Item::{List, Number, Word};
    match (a, b) {
        (Number(a), Number(b)) => numbers(a, b),
        (Word(a), Word(b)) => rank(a).cmp(&rank(b)),
        (List(a), List(b)) => lists(a, b),
        (Number(_), _) | (List(_), Word(_)) => Ordering::Greater,
        (_, Number(_)) | (Word(_), List(_)) => Ordering::Less,
    }
}

fn lists(a: &[Item], b: &[Item]) -> Ordering {
    let pairs = (0..a.len().max(b.len())).map(|i| match (a.get(i), b.get(i)) {
        (Some(a), Some(b)) => items(a, b),
        (Some(a), None) => alone(a),
        (None, Some(b)) => alone(b).reverse(),
        (None, None) => Ordering::Equal,
    });
    first_unequal(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(a: &str, b: &str) -> Ordering {
        Version::parse(a).unwrap().cmp(&Version::parse(b).unwrap())
    }

    /// Facts of the POM reference's examples and of Maven's own tests.
    #[test]
    fn rows_are_ascending() {
        for row in [
            &["1", "1.1"][..],
            &["1-snapshot", "1", "1-sp"],
            &["1-foo2", "1-foo10"],
            &["1.foo", "1-1", "1.1"],
            &[
                "1-alpha2snapshot",
                "1-alpha2",
                "1-alpha-123",
                "1-beta-2",
                "1-beta123",
                "1-m2",
                "1-m11",
                "1-rc",
                "1-cr2",
                "1-rc123",
                "1-SNAPSHOT",
                "1",
                "1-sp",
                "1-sp2",
                "1-sp123",
                "1-abc",
                "1-def",
                "1-pom-1",
                "1-1-snapshot",
                "1-1",
                "1-2",
                "1-123",
            ],
            &["1-sp-1", "1-ga-1"],
            &["2.0", "2.0.a", "2-1", "2.0.2", "2.0.123", "2.1.0", "2.1-a", "2.1b", "2.1-c"],
            &["2.1-c", "2.1-1", "2.1.0.1", "2.2", "2.123", "11.a2", "11.a11", "11.b2", "11.b11"],
            &["11.b11", "11.m2", "11.m11", "11", "11.a", "11b", "11c", "11m"],
            &["6.1.0rc3", "6.1.0", "6.1H.5-beta"],
            &["20190126.230843", "1234567890.12345", "12345678901234567890.1H.5-beta"],
            &["1-0.alpha", "1-0.beta", "1"],
        ] {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    assert_eq!(order(a, b), i.cmp(&j), "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for row in [
            &["1", "1.0", "1.0.0", "1-0", "1.0-0", "1ga", "1-final", "1.0.release", "01"][..],
            &["1a", "1-a", "1.0-a", "1.0.0-a", "1.0a"],
            &["1a1", "1-alpha-1", "1-ALPHA1"],
            &["1m3", "1-milestone-3", "1MileStone3"],
            &["1cr", "1Rc"],
            &["1-ga-1", "1-ga1"],
            &["1-rc1", "1-rc-1"],
            &["1-1.foo-bar1baz-.1", "1-1.foo-bar-1-baz-0.1"],
        ] {
            for (a, b) in row.iter().flat_map(|a| row.iter().map(move |b| (a, b))) {
                assert_eq!(order(a, b), Ordering::Equal, "{a} {b}");
            }
        }
    }

    #[test]
    fn prereleases_are_known_and_nonsense_is_none() {
        for (text, want) in [
            ("1.0-rc1", true),
            ("1.0-SNAPSHOT", true),
            ("1.0.M2", true),
            ("1.0", false),
            ("1.0-jre", false),
            ("1.0.Final", false),
        ] {
            assert_eq!(Version::parse(text).unwrap().is_prerelease(), want, "{text}");
        }
        for bad in ["", "1 0", "1\n", &"1".repeat(257)] {
            assert!(Version::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn order_is_antisymmetric(a in "[0-9a-c.rm-]{0,20}|\\PC{0,12}", b in "[0-9a-c.rm-]{0,20}") {
            if let (Some(a), Some(b)) = (Version::parse(&a), Version::parse(&b)) {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
                prop_assert_eq!(a.cmp(&a), Ordering::Equal);
            }
        }
    }
}
