//! `countersign sbom`: what is in a version, an artifact, a lock file or an environment, as a bill of
//! materials.

use crate::context::{Context, Failed, now};
use crate::print;
use clap::{Args, ValueEnum};
use countersign_core::{ArtifactFacts, Purl, Sha256Digest};
use countersign_ecosystem::inventory::{SkipKind, detect};
use countersign_ecosystem::sbom::{Bom, BomFormat, Component, relations};
use countersign_engine::audit::{Document, PlaceKind, find, read};
use countersign_engine::store::{OpenMode, Store, StoredDecision};
use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// `sbom`.
#[derive(Args)]
#[command(
    after_help = "Lock files, environments and folders are read as `countersign audit` reads them. A version (purl) or an\n\
                  artifact must have been judged here. Licences and suppliers are those that the ledger's decisions know;\n\
                  what is listed and not in the bill is named on standard error and in the document.\n\n\
                  Examples:\n  countersign sbom uv.lock -o uv.cdx.json\n  countersign sbom .venv --format spdx\n  \
                  countersign sbom pkg:npm/lodash@4.17.21\n  countersign sbom flask-3.0.0-py3-none-any.whl"
)]
pub struct SbomArgs {
    /// Lock files, environments, folders, artifacts, or versions (pkg:npm/lodash@4.17.21)
    #[arg(required = true, value_name = "PURL|PATH")]
    pub subjects: Vec<String>,
    /// The form
    #[arg(long, value_enum, default_value_t = SbomFormat::CycloneDx)]
    pub format: SbomFormat,
    /// Where to write it [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The forms that can be written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SbomFormat {
    /// CycloneDX 1.6, JSON.
    #[value(name = "cyclonedx")]
    CycloneDx,
    /// SPDX 2.3, JSON.
    Spdx,
}

/// Runs the subcommand. Returns the exit code.
pub async fn sbom(context: &Context, args: SbomArgs) -> Result<u8, Failed> {
    let store = match context.state.join("store.sqlite").is_file() {
        true => Some(Store::open(&context.state, OpenMode::ReadOnly).await?),
        false => None,
    };
    let (mut paths, mut judged) = (Vec::new(), Vec::new());
    for subject in &args.subjects {
        if subject.starts_with("pkg:") {
            let purl: Purl = subject.parse().map_err(Failed::usage)?;
            judged.push(by_purl(store.as_ref(), &purl).await?);
        } else if is_artifact(Path::new(subject)) {
            judged.push(by_file(store.as_ref(), Path::new(subject)).await?);
        } else {
            paths.push(PathBuf::from(subject));
        }
    }
    let mut bom = of_documents(&args.subjects.join(" "), &paths)?;
    for (component, left_out) in judged {
        if !bom.components.iter().any(|c| c.purl == component.purl) {
            bom.components.push(component);
        }
        bom.left_out.extend(left_out);
    }
    if let Some(store) = &store {
        for component in &mut bom.components {
            enrich(store, component).await?;
        }
    }
    let format = match args.format {
        SbomFormat::CycloneDx => BomFormat::CycloneDx,
        SbomFormat::Spdx => BomFormat::Spdx,
    };
    let text = bom.write(format);
    match &args.output {
        None => print::line(&text),
        Some(file) => std::fs::write(file, text + "\n").map_err(|e| {
            Failed::internal(format!("`{}` cannot be written: {e}", file.display()))
        })?,
    }
    for line in &bom.left_out {
        print::error_line(&format!("not in the bill: {line}"));
    }
    let n = bom.components.len();
    print::error_line(&format!("countersign: {n} components, {} relations", bom.needs.len()));
    Ok(0)
}

/// The bill of what documents and environments list.
fn of_documents(name: &str, paths: &[PathBuf]) -> Result<Bom, Failed> {
    let places = if paths.is_empty() { Vec::new() } else { find(paths).map_err(Failed::usage)? };
    let formats: HashMap<PathBuf, _> = places
        .iter()
        .filter_map(|p| match &p.kind {
            PlaceKind::Document(format) => Some((p.path.clone(), *format)),
            _ => None,
        })
        .collect();
    let (mut lists, mut left_out) = (Vec::new(), Vec::new());
    for document in read(&places) {
        let shown = document.path.display().to_string();
        if let Some(problem) = &document.problem {
            return Err(Failed::usage(format!("`{shown}`: {problem}")));
        }
        let skipped = document.skipped.iter().filter(|s| s.kind != SkipKind::Own);
        left_out.extend(skipped.map(|s| format!("{} in {shown}: {}", s.what, s.because)));
        let related = formats.get(&document.path).map(|format| {
            let text = std::fs::read_to_string(&document.path).unwrap_or_default();
            relations(*format, &text, &document.listed)
        });
        let Document { listed, .. } = document;
        lists.push((listed, related.unwrap_or_default()));
    }
    let tool = ("countersign", env!("CARGO_PKG_VERSION"));
    Ok(Bom { left_out, ..Bom::of_list(name, tool, now(), &lists) })
}

/// Whether a path is a file that no reader of documents knows.
fn is_artifact(path: &Path) -> bool {
    let mut head = Vec::new();
    let opened = std::fs::File::open(path).ok().filter(|_| path.is_file());
    let Some(file) = opened else { return false };
    if file.take(64 << 10).read_to_end(&mut head).is_err() {
        return false;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = path.extension().is_some_and(|e| e == "txt" || e == "in" || e == "json");
    !text && detect(&name, &head).is_none()
}

fn not_judged(what: &str) -> Failed {
    Failed::usage(format!(
        "{what} was not judged here; run it through the gate first, or name another store with --state"
    ))
}

/// The component of a version, with the files of it that were admitted.
async fn by_purl(store: Option<&Store>, purl: &Purl) -> Result<(Component, Vec<String>), Failed> {
    if purl.version().is_none() {
        return Err(Failed::usage(format!("{purl} has no version; write {purl}@…")));
    }
    let decisions = match store {
        Some(store) => store.decisions_for_purl(purl).await?,
        None => Vec::new(),
    };
    of_decisions(&decisions).ok_or_else(|| not_judged(&purl.to_string()))
}

/// The component of an artifact, by its bytes.
async fn by_file(store: Option<&Store>, path: &Path) -> Result<(Component, Vec<String>), Failed> {
    let sha256 = super::receipt::digest_of(path)?;
    let decisions = match store {
        Some(store) => store.decisions_for_digest(&sha256).await?,
        None => Vec::new(),
    };
    of_decisions(&decisions).ok_or_else(|| not_judged(&format!("`{}`", path.display())))
}

/// The component that decisions, newest first, are about, and what it declares to need.
fn of_decisions(decisions: &[StoredDecision]) -> Option<(Component, Vec<String>)> {
    let with_bytes: Vec<(&StoredDecision, Sha256Digest)> =
        decisions.iter().filter_map(|d| Some((d, d.sha256?))).collect();
    let (newest, _) = with_bytes.first()?;
    let mut component = Component::of(newest.purl.clone());
    for (_, sha256) in with_bytes.iter().filter(|(d, _)| d.purl == newest.purl) {
        let bytes = sha256.0.to_vec();
        let digest = countersign_core::ExpectedDigest::from_bytes(
            countersign_core::Algorithm::Sha256,
            bytes,
        )?;
        if !component.digests.contains(&digest) {
            component.digests.push(digest);
        }
    }
    let facts: Option<ArtifactFacts> = serde_json::from_value(newest.facts.clone()).ok();
    let needs = facts.map(|f| f.dependencies).unwrap_or_default();
    let label = newest.purl.label();
    let needs = needs
        .iter()
        .filter(|d| !d.optional)
        .map(|d| format!("`{}` {} is declared by {label}, not resolved", d.name, d.requirement));
    Some((component, needs.collect()))
}

/// Adds what the ledger's decisions about the component's bytes know.
async fn enrich(store: &Store, component: &mut Component) -> Result<(), Failed> {
    let plain = {
        let p = &component.purl;
        let plain = Purl::new(p.ecosystem(), p.name(), p.version());
        match p.qualifier("arch") {
            Some(arch) => plain.with_qualifier("arch", arch),
            None => plain,
        }
    };
    let decisions = store.decisions_for_purl(&plain).await?;
    let named = |d: &&StoredDecision| {
        let own = |s: Sha256Digest| component.digests.iter().any(|k| k.as_bytes() == s.0);
        component.digests.is_empty() || d.sha256.is_some_and(own)
    };
    let newest = decisions.iter().filter(|d| d.sha256.is_some()).find(named);
    let facts = newest.and_then(|d| serde_json::from_value::<ArtifactFacts>(d.facts.clone()).ok());
    let Some(facts) = facts else { return Ok(()) };
    for finding in &facts.findings {
        match finding.id.as_str() {
            "licence.declared" => {
                let text = finding.title.strip_prefix("declares `");
                let text = text.and_then(|t| t.strip_suffix('`'));
                // What is no SPDX expression has no identifiers.
                if let Some(text) = text.filter(|_| !finding.aliases.is_empty()) {
                    component.declared.push(text.to_owned());
                }
            }
            "licence.found" => component.found.clone_from(&finding.aliases),
            _ => {}
        }
    }
    let claims = || facts.evidence.iter().filter_map(countersign_core::Evidence::claim);
    let repository = claims().find_map(|c| c.repository.clone());
    component.supplier =
        repository.or_else(|| claims().map(|c| c.signer.clone()).find(|s| !s.is_empty()));
    Ok(())
}
