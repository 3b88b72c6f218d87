//! Rules in the language of YARA: the project's own, and any that the user adds, as they stand.
//!
//! They complement `malware`'s automaton: text that is encoded in ways that it does not undo, patterns
//! over several lines, and compiled code. What a rule's metadata says decides what its match means:
//!
//! | key | |
//! |---|---|
//! | `path_include`, `path_exclude` | globs, separated by commas; of the whole path or of the file's name |
//! | `kinds` | `code`, `text`, `native`, `binary`, separated by commas; without it `code`, `text` and `native` |
//! | `max_hits` | findings of this rule for one artifact, at most |
//! | `severity` | `info` … `critical`; or `score`, from 0 to 100 |
//! | `confidence` | `low`, `medium`, `high`; also as `specificity` |
//! | `can` | what code that matches can do, joined by `+`; counts in meetings like `malware`'s own rules |
//! | `identifies` | `capability.…` is no finding by itself |
//! | `description` | what people are told |
//!
//! A rule that says neither `severity` nor `score` is shown with severity `low`.

mod meta;
mod session;
#[cfg(test)]
mod tests;

use crate::malware::{FileRules, FileSession};
use countersign_core::Sha256Digest;
use meta::RuleMeta;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name, as people see it in errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The project's own rules.
const OWN: &[(&str, &str)] = &[
    ("rules/code.yar", include_str!("../../../../rules/code.yar")),
    ("rules/native.yar", include_str!("../../../../rules/native.yar")),
];

/// Bytes of all files of rules together.
const MAX_SOURCES: usize = 64 << 20;

/// What of the rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum YaraError {
    /// Rules do not compile. Each line names the file and the line.
    #[error("rules cannot be used: {}", .0.join("; "))]
    Compile(Vec<String>),
    /// There is more text than rules have.
    #[error("the rules have more than {MAX_SOURCES} bytes")]
    TooLarge,
    /// A compiled form is not what was written.
    #[error("compiled rules cannot be read: {0}")]
    Stored(String),
}

/// Rules, compiled.
#[derive(Clone)]
pub struct YaraRules {
    digest: Arc<str>,
    /// A scanner borrows its rules for as long as it lives, so they live as long as the program. One
    /// digest is compiled once.
    compiled: &'static Compiled,
    skipped: Arc<[String]>,
}

struct Compiled {
    rules: yara_x::Rules,
    meta: HashMap<(String, String), RuleMeta>,
}

/// All rules that were ever compiled by this program, by their digest.
static LIVE: Mutex<Vec<(Arc<str>, &'static Compiled)>> = Mutex::new(Vec::new());

impl std::fmt::Debug for YaraRules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rules of {}", self.compiled.meta.len(), self.digest)
    }
}

impl YaraRules {
    /// The project's own sources.
    #[must_use]
    pub fn own() -> Vec<Source> {
        let source = |(name, text): &(&str, &str)| Source {
            name: (*name).to_owned(),
            text: (*text).to_owned(),
        };
        OWN.iter().map(source).collect()
    }

    /// Names these sources together with the engine that compiles them.
    #[must_use]
    pub fn digest_of(sources: &[Source], go_on: bool) -> String {
        let mut text = format!("yara-x {ENGINE} {go_on}\n");
        for source in sources {
            let digest = Sha256Digest::of(source.text.as_bytes());
            text.push_str(&format!("{} {}\n", digest.to_hex(), source.name));
        }
        Sha256Digest::of(text.as_bytes()).to_hex()
    }

    /// Compiles rules. With `go_on` those that do not compile are left out, and said in
    /// [`YaraRules::skipped`].
    ///
    /// # Errors
    /// When a rule does not compile, or there are too many.
    pub fn compile(sources: &[Source], go_on: bool) -> Result<Self, YaraError> {
        let digest = Self::digest_of(sources, go_on);
        if sources.iter().map(|s| s.text.len()).sum::<usize>() > MAX_SOURCES {
            return Err(YaraError::TooLarge);
        }
        let mut compiler = yara_x::Compiler::new();
        // Other people's rules were written for an older engine.
        compiler.relaxed_re_syntax(true).enable_includes(false);
        for source in sources {
            // Two files may have rules of one name.
            compiler.new_namespace(&source.name);
            let code = yara_x::SourceCode::from(source.text.as_str()).with_origin(&source.name);
            // All that is wrong is told at once, below.
            let _all_errors_are_kept = compiler.add_source(code);
        }
        let wrong: Vec<String> = compiler.errors().iter().map(shown).collect();
        if !wrong.is_empty() && !go_on {
            return Err(YaraError::Compile(wrong));
        }
        let rules = compiler.build();
        Ok(Self::keep(digest, rules, wrong))
    }

    /// Reads the compiled form that [`YaraRules::to_bytes`] wrote, of rules with this digest. It is
    /// trusted as the program is: it may only come from where nobody else can write.
    ///
    /// # Errors
    /// When it is no such form.
    pub fn from_bytes(bytes: &[u8], digest: &str) -> Result<Self, YaraError> {
        let stored = |e: &dyn std::fmt::Display| YaraError::Stored(e.to_string());
        let (head, rest) = bytes.split_at_checked(64).ok_or_else(|| stored(&"it is cut off"))?;
        if head != Sha256Digest::of(rest).to_hex().as_bytes() {
            return Err(stored(&"it is damaged"));
        }
        let at = memchr::memchr(0, rest).ok_or_else(|| stored(&"it is cut off"))?;
        let (skipped, rules) = rest.split_at(at);
        let skipped: Vec<String> = serde_json::from_slice(skipped).map_err(|e| stored(&e))?;
        let rules = rules.get(1..).unwrap_or_default();
        let rules = yara_x::Rules::deserialize(rules).map_err(|e| stored(&e))?;
        Ok(Self::keep(digest.to_owned(), rules, skipped))
    }

    /// The compiled form.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>, YaraError> {
        let stored = |e: &dyn std::fmt::Display| YaraError::Stored(e.to_string());
        let mut rest = serde_json::to_vec(&*self.skipped).map_err(|e| stored(&e))?;
        rest.push(0);
        rest.extend(self.compiled.rules.serialize().map_err(|e| stored(&e))?);
        let mut out = Sha256Digest::of(&rest).to_hex().into_bytes();
        out.extend(rest);
        Ok(out)
    }

    fn keep(digest: String, rules: yara_x::Rules, skipped: Vec<String>) -> Self {
        let digest: Arc<str> = digest.into();
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let known = live.iter().find(|(known, _)| *known == digest).map(|(_, compiled)| *compiled);
        let compiled = known.unwrap_or_else(|| {
            let of = |rule: yara_x::Rule<'_, '_>| {
                let name = (rule.namespace().to_owned(), rule.identifier().to_owned());
                (name, RuleMeta::of(&rule))
            };
            let meta = rules.iter().map(of).collect();
            let compiled: &'static Compiled = Box::leak(Box::new(Compiled { rules, meta }));
            live.push((digest.clone(), compiled));
            compiled
        });
        Self { digest, compiled, skipped: skipped.into() }
    }

    /// Rules that were left out because they do not compile, each with its file and line.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// How many rules there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.compiled.meta.len()
    }
}

/// The engine's version: what it compiles, another may not read.
const ENGINE: &str = "1.21";

/// An error on one line, with its file and line.
fn shown(error: &yara_x::errors::CompileError) -> String {
    let text = error.to_string();
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let place = lines.find_map(|line| line.trim_start().strip_prefix("--> "));
    let place = place.map_or(String::new(), |p| format!("{}: ", p.trim()));
    crate::structure::printable(&format!("{place}{title}"))
}

impl FileRules for YaraRules {
    fn digest(&self) -> &str {
        &self.digest
    }

    fn begin(&self) -> Result<Box<dyn FileSession>, String> {
        Ok(Box::new(session::Session::new(self.compiled)))
    }
}
