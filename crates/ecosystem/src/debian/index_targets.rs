//! What `apt-get indextargets` prints: each index that apt fetches, where from, and where it keeps
//! it. It is apt's own view of its configuration, and the one source of upstream addresses.

use super::deb822::{Deb822Error, Deb822Limits, Paragraph, parse_paragraphs};

/// One index that apt fetches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexTarget {
    /// Its path below the Release file (`main/binary-amd64/Packages`).
    pub meta_key: String,
    /// Where it is fetched from.
    pub uri: String,
    /// Where apt keeps it, compressed or not.
    pub filename: String,
    /// What kind it is (`Packages`, `Sources`, `Translations`).
    pub created_by: String,
    /// The repository's code name, from its Release file.
    pub codename: Option<String>,
    /// The repository's suite, from its Release file.
    pub suite: Option<String>,
    /// The repository's origin, from its Release file.
    pub origin: Option<String>,
    /// The suite as the configuration names it.
    pub release: Option<String>,
    /// The component (`main`).
    pub component: Option<String>,
    /// The architecture.
    pub architecture: Option<String>,
    /// The repository's root: package paths are below it.
    pub repo_uri: Option<String>,
    /// The Release file's folder: indexes are below it.
    pub base_uri: Option<String>,
    /// The repository's root as it is shown to people.
    pub site: Option<String>,
    /// Key files or fingerprints that alone may sign, where the configuration says so.
    pub signed_by: Option<String>,
    /// Whether apt holds the index for trusted. Apt's word, which says nothing about who signed.
    pub trusted: Option<bool>,
    /// Whether it can also be fetched by its digest.
    pub by_hash: Option<bool>,
    /// What of the configuration it comes from (`deb`, `deb-src`).
    pub target_of: Option<String>,
    /// The configuration's file and entry.
    pub sources_entry: Option<String>,
}

/// Reads the output of `apt-get indextargets`.
///
/// # Errors
/// When it is not well-formed, or an index has no key, address or file.
pub fn parse_index_targets(text: &str) -> Result<Vec<IndexTarget>, Deb822Error> {
    parse_paragraphs(text, &Deb822Limits::default())?.iter().map(target).collect()
}

fn target(p: &Paragraph) -> Result<IndexTarget, Deb822Error> {
    let some = |name| p.get(name).filter(|v| !v.is_empty()).map(str::to_owned);
    let yes = |name| some(name).map(|v| v.eq_ignore_ascii_case("yes"));
    Ok(IndexTarget {
        meta_key: p.require("MetaKey")?.to_owned(),
        uri: p.require("URI")?.to_owned(),
        filename: p.require("Filename")?.to_owned(),
        created_by: p.require("Created-By")?.to_owned(),
        codename: some("Codename"),
        suite: some("Suite"),
        origin: some("Origin"),
        release: some("Release"),
        component: some("Component"),
        architecture: some("Architecture"),
        repo_uri: some("Repo-URI"),
        base_uri: some("Base-URI"),
        site: some("Site"),
        signed_by: some("Signed-By"),
        trusted: yes("Trusted"),
        by_hash: yes("By-Hash"),
        target_of: some("Target-Of"),
        sources_entry: some("Sourcesentry"),
    })
}
