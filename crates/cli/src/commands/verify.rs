//! `countersign verify`: offline checks of artifacts and receipts.

use super::receipts;
use crate::args::{VerifyArgs, VerifyCommand};
use crate::context::{Context, Failed, now};
use crate::print;
use countersign_core::Purl;
use countersign_engine::EvidenceSource;
use countersign_engine::evidence_kinds::sigstore::TrustRoots;
use countersign_engine::organisation::{OrganisationKeys, Recorded, recorded as times};
use countersign_engine::store::Store;
use countersign_engine::verify::{
    Target, Trust, Verification, VerificationResult, attestations, explain, explain_vcs,
    verify_offline,
};
use std::path::{Path, PathBuf};

/// What a package's file ends in.
const ARTIFACTS: [&str; 7] = [".whl", ".tar.gz", ".zip", ".tgz", ".crate", ".deb", ".jar"];

/// Files of a folder that are looked at.
const MAX_FILES: usize = 10_000;

/// Runs `verify`, or its subcommand.
pub async fn verify(context: &Context, args: VerifyArgs) -> Result<u8, Failed> {
    match (args.command, args.receipts, args.policy) {
        (Some(VerifyCommand::Receipt(args)), ..) => return receipts::verify_receipt(&args),
        (None, Some(folder), Some(policy)) => {
            return receipts::gate::deploy(&folder, &policy, now());
        }
        _ => {}
    }
    let subject = args.subject.as_deref().unwrap_or_default();
    let roots = match &args.trusted_root {
        Some(file) => std::fs::read(file)
            .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", file.display())))
            .and_then(|b| TrustRoots::from_trusted_root_json(&b).map_err(Failed::usage))?,
        None => context.trust_roots(&context.config()?.0.trust).await?,
    };
    if let Some(verification) = args.image.verify(subject, &args.key, &roots)? {
        return shown(&[verification], args.json);
    }
    let folders = folders(context, &args.evidence)?;
    let store = if context.has_key() { Some(context.open().await?) } else { None };
    let keys = keys(context, store.as_ref(), &args.key).await?;
    let trusted = args.trust.read()?;
    let mut done = Vec::new();
    for Asked { path, purl, file_name } in targets(context, subject, args.purl).await? {
        let mut target = Target::read(&path, purl)
            .map_err(|e| Failed::usage(format!("`{}` cannot be read: {e}", path.display())))?;
        // What the store keeps has nothing beside it, and goes by its digest.
        let beside = if file_name.is_some() { None } else { path.parent() };
        target.file_name = file_name.unwrap_or(target.file_name);
        let mut recorded = Recorded::default();
        if let Some(store) = store.as_ref().filter(|_| keys.any_own()) {
            for document in attestations(&target, beside, &folders) {
                recorded.extend(times(store, &document).await.map_err(Failed::internal)?);
            }
        }
        let trust = Trust { roots: &roots, keys: &keys, recorded: &recorded, now: now() };
        let mut verification = verify_offline(&target, beside, &folders, &trust);
        trusted.add_to(&mut verification, &path, beside, &folders, now());
        done.push(verification);
    }
    if done.is_empty() {
        return Err(Failed::usage(format!("`{subject}` holds no package's file")));
    }
    shown(&done, args.json)
}

/// Writes the results; the exit code.
fn shown(done: &[Verification], json: bool) -> Result<u8, Failed> {
    if json {
        print::line(&serde_json::to_string_pretty(done).map_err(Failed::internal)?);
    } else {
        done.iter().for_each(as_text);
    }
    Ok(code(done))
}

/// 0: all are verified. 1: something does not hold. 3: of something, nothing could be verified.
fn code(done: &[Verification]) -> u8 {
    let is = |result| done.iter().any(|v| v.result == result);
    if is(VerificationResult::Invalid) {
        return 1;
    }
    if is(VerificationResult::Absent) || is(VerificationResult::NotJudged) { 3 } else { 0 }
}

fn as_text(v: &Verification) {
    let result = match v.result {
        VerificationResult::Verified => "verified",
        VerificationResult::Invalid => "NOT verified: evidence does not hold",
        VerificationResult::NotJudged => "not verified: its evidence could not be judged",
        VerificationResult::Absent => "not verified: there is no evidence",
    };
    print::line(&format!("{}: {result}", v.file));
    print::line(&format!("  sha256 {}", v.sha256));
    for line in v.evidence.iter().flat_map(explain) {
        print::line(&format!("  {line}"));
    }
    for line in v.unverified_claims.iter().flat_map(explain_vcs) {
        print::line(&format!("  {line}"));
    }
}

/// The folders of evidence: those of the configuration, and those named. This command asks nobody.
fn folders(context: &Context, named: &[PathBuf]) -> Result<Vec<PathBuf>, Failed> {
    let (config, _) = context.config()?;
    let mut out = Vec::new();
    for source in config.evidence {
        match source {
            EvidenceSource::Folder(folder) => out.push(folder),
            EvidenceSource::Tree(_) | EvidenceSource::Registry(_) => print::error_line(&format!(
                "countersign: {source} is not asked; this command works offline"
            )),
        }
    }
    out.extend(named.iter().cloned());
    match out.iter().find(|f| !f.is_dir()) {
        Some(missing) => {
            Err(Failed::usage(format!("evidence folder `{}` is not there", missing.display())))
        }
        None => Ok(out),
    }
}

/// The organisation's keys: those of the configuration and the store, and those named for this once.
async fn keys(
    context: &Context,
    store: Option<&Store>,
    named: &[PathBuf],
) -> Result<OrganisationKeys, Failed> {
    let (config, _) = context.config()?;
    let mut keys = OrganisationKeys::load(&config, store).await.map_err(Failed::usage)?;
    for file in named {
        let shown = file.display();
        let pem = std::fs::read_to_string(file)
            .map_err(|e| Failed::usage(format!("`{shown}` cannot be read: {e}")))?;
        let name = file.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        keys = keys
            .and_for_everything(&name, &pem)
            .map_err(|e| Failed::usage(format!("`{shown}`: {e}")))?;
    }
    Ok(keys)
}

/// A file that is meant: its version, where that is known, and its name, where the path is not it.
struct Asked {
    path: PathBuf,
    purl: Option<Purl>,
    file_name: Option<String>,
}

/// The files that are meant, and their versions where they are known.
async fn targets(
    context: &Context,
    subject: &str,
    purl: Option<Purl>,
) -> Result<Vec<Asked>, Failed> {
    if subject.starts_with("pkg:") {
        return of_purl(context, subject).await;
    }
    let path = Path::new(subject);
    if !path.is_dir() {
        let purl = match purl {
            Some(purl) => Some(purl),
            None => known_purl(context, path).await,
        };
        return Ok(vec![Asked { path: path.to_owned(), purl, file_name: None }]);
    }
    let entries = std::fs::read_dir(path)
        .map_err(|e| Failed::usage(format!("`{subject}` cannot be read: {e}")))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_file() && is_artifact(p))
        .take(MAX_FILES + 1)
        .collect();
    if files.len() > MAX_FILES {
        return Err(Failed::usage(format!("`{subject}` holds more than {MAX_FILES} files")));
    }
    files.sort();
    let mut out = Vec::new();
    for file in files {
        let purl = known_purl(context, &file).await;
        out.push(Asked { path: file, purl, file_name: None });
    }
    Ok(out)
}

fn is_artifact(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_ascii_lowercase());
    name.is_some_and(|n| ARTIFACTS.iter().any(|ending| n.ends_with(ending)))
}

/// What the ledger knows these bytes as, where there is one.
async fn known_purl(context: &Context, path: &Path) -> Option<Purl> {
    if !context.has_key() {
        return None;
    }
    let digest = super::receipt::digest_of(path).ok()?;
    let store = context.open().await.ok()?;
    let found = store.decisions_for_digest(&digest).await.ok()?;
    found.into_iter().next().map(|d| d.purl)
}

/// The files of a version that this store keeps.
async fn of_purl(context: &Context, subject: &str) -> Result<Vec<Asked>, Failed> {
    let purl: Purl = subject.parse().map_err(Failed::usage)?;
    if purl.version().is_none() {
        return Err(Failed::usage(format!("`{subject}` names no version")));
    }
    let store = context.open().await?;
    let admitted = store.admitted_by_purl(&purl).await?;
    let found = |(sha256, file_name)| {
        let path = store.blob_file(&sha256)?;
        Some(Asked { path, purl: Some(purl.clone()), file_name: Some(file_name) })
    };
    let out: Vec<Asked> = admitted.into_iter().filter_map(found).collect();
    if out.is_empty() {
        return Err(Failed::usage(format!(
            "this store keeps no admitted file of {subject}; run it through the gate first"
        )));
    }
    Ok(out)
}
