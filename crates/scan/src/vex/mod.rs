//! VEX documents: who states that a known vulnerability does, or does not, affect a version.
//!
//! [`parse`] reads OpenVEX and CSAF (profile VEX) into [`Statement`]s, each about one version of one
//! package; [`VexSet`] finds those about a package and puts them on findings as claims. A claim lowers
//! nothing by itself: policy sees whose it is.
//!
//! Statements about a package without a version, about a product that is no package, or by digest alone
//! are counted and left out: what they cover is not for this crate to guess.

mod csaf;
mod error;
mod openvex;
#[cfg(test)]
mod tests;

pub use error::VexError;

use countersign_core::{Ecosystem, Finding, Purl, VexClaim, VexSource, VexStatus};
use countersign_ecosystem::version::same;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Largest document that is read, in bytes: stops one that is there to exhaust memory.
pub const MAX_DOCUMENT: usize = 64 << 20;
/// The most statements of one document: stops lists of products times lists of vulnerabilities.
const MAX_STATEMENTS: usize = 1_000_000;
/// Longest foreign text that is kept, in characters.
const MAX_TEXT: usize = 200;

/// What a document states about one vulnerability in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The version, with the qualifiers that the document gives.
    pub product: Purl,
    /// The vulnerability, by all ids that the document knows.
    pub vulnerability: Vec<String>,
    /// What is stated.
    pub status: VexStatus,
    /// Why, where a product is said not to be affected.
    pub justification: Option<String>,
}

/// A document, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VexDocument {
    /// Its id, as its author writes it.
    pub id: String,
    /// What it states about versions of packages.
    pub statements: Vec<Statement>,
    /// Pairs of vulnerability and product that name no version of a package that the gate knows.
    pub unbound: usize,
}

/// Reads a document of either form.
///
/// # Errors
/// When it is too large, no JSON, or of neither form.
pub fn parse(bytes: &[u8]) -> Result<VexDocument, VexError> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(VexError::TooLarge { limit: MAX_DOCUMENT });
    }
    let json: Value =
        serde_json::from_slice(bytes).map_err(|e| VexError::malformed(e.to_string()))?;
    let context = json.get("@context").and_then(Value::as_str).unwrap_or("");
    if context.starts_with("https://openvex.dev/ns") {
        return openvex::read(&json);
    }
    if json.pointer("/document/csaf_version").is_some() {
        return csaf::read(&json);
    }
    Err(VexError::malformed("it is neither OpenVEX nor CSAF".to_owned()))
}

/// A document that is being made.
struct Making {
    document: VexDocument,
}

impl Making {
    fn new(id: &str) -> Self {
        let document = VexDocument { id: clean(id), statements: Vec::new(), unbound: 0 };
        Self { document }
    }

    /// Adds a statement; `None` for a product without a usable purl.
    fn state(
        &mut self,
        product: Option<&str>,
        vulnerability: &[String],
        status: VexStatus,
        justification: Option<&str>,
    ) -> Result<(), VexError> {
        let purl = product.and_then(|p| p.parse::<Purl>().ok());
        let Some(product) = purl.filter(|p| p.version().is_some_and(|v| !v.is_empty())) else {
            self.document.unbound += 1;
            return Ok(());
        };
        if self.document.statements.len() >= MAX_STATEMENTS {
            return Err(VexError::TooMany { limit: MAX_STATEMENTS });
        }
        self.document.statements.push(Statement {
            product,
            vulnerability: vulnerability.to_vec(),
            status,
            justification: justification.map(clean).filter(|j| !j.is_empty()),
        });
        Ok(())
    }
}

/// One line without control characters, of bounded length: it is shown to people.
fn clean(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MAX_TEXT).collect::<String>().trim().to_owned()
}

/// Ids in a document, as far as they can be ids.
fn ids<'a>(all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let sound = |id: &&str| {
        !id.is_empty() && id.len() <= MAX_TEXT && id.bytes().all(|b| b.is_ascii_graphic())
    };
    let mut out: Vec<String> = all.filter(sound).map(str::to_owned).collect();
    out.sort_unstable();
    out.dedup();
    out
}

/// A statement, and whose it is.
#[derive(Debug, Clone)]
struct Stated {
    statement: Statement,
    source: VexSource,
    document: Arc<str>,
}

/// All statements that are believed to some degree, by package.
#[derive(Debug, Default, Clone)]
pub struct VexSet {
    by_package: HashMap<(Ecosystem, String), Vec<Stated>>,
    statements: usize,
}

impl VexSet {
    /// Adds a document of a source.
    pub fn add(&mut self, document: VexDocument, source: VexSource) {
        let id: Arc<str> = document.id.into();
        for statement in document.statements {
            let key = (statement.product.ecosystem(), statement.product.name().to_owned());
            let of_package = self.by_package.entry(key).or_default();
            of_package.push(Stated { statement, source, document: id.clone() });
            self.statements += 1;
        }
    }

    /// How many statements there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.statements
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statements == 0
    }

    /// Puts on findings about a version what is stated about them.
    pub fn apply(&self, purl: &Purl, findings: &mut [Finding]) {
        let key = (purl.ecosystem(), purl.name().to_owned());
        let Some(statements) = self.by_package.get(&key) else { return };
        for Stated { statement, source, document } in statements {
            if !is_about(&statement.product, purl) {
                continue;
            }
            for finding in findings.iter_mut() {
                if statement.vulnerability.iter().any(|id| finding.is_named(id)) {
                    finding.vex.push(VexClaim {
                        status: statement.status,
                        justification: statement.justification.clone(),
                        source: *source,
                        document: document.to_string(),
                    });
                }
            }
        }
    }
}

/// Whether a statement about `product` holds for `purl`: the same version, and each qualifier that both
/// name the same. One that only the document names (an architecture) narrows it.
fn is_about(product: &Purl, purl: &Purl) -> bool {
    let versions = product.version().zip(purl.version());
    let plain = Purl::new(product.ecosystem(), product.name(), product.version());
    versions.is_some_and(|(a, b)| same(purl.ecosystem(), a, b))
        && (*product == plain || product.qualifier("arch") == purl.qualifier("arch"))
}
