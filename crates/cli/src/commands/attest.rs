//! `countersign attest`: signed statements about artifacts.

use super::key::agent_socket;
use super::receipt::write;
use super::secret::SecretArgs;
use crate::context::{Context, Failed, now};
use crate::print;
use countersign_core::{Purl, Sha256Digest};
use countersign_engine::organisation::OrganisationKeys;
use countersign_engine::signer::{Secret, Signer};
use countersign_engine::signing::attest::{self, Signed, Subject};
use countersign_engine::signing::holder;
use countersign_engine::signing::key::{self, SigningKey};
use countersign_engine::store::{Store, StoredDecision};
use countersign_engine::verify::Target;
use serde_json::Value;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest predicate that is read, in bytes: what others read of an attestation is not larger.
const MAX_PREDICATE: u64 = 3 << 20;

/// The file of an evidence folder that holds attestations.
const ATTESTATIONS: &str = "attestations.intoto.jsonl";

/// `attest`.
#[derive(clap::Args)]
#[command(
    after_help = "Types: slsaprovenance1, vsa, test-result, vulns, release, scai, link, cyclonedx, spdx, openvex,\n\
    or any type URI. Predicates of these types are checked for what their specification requires.\n\n\
    The signature is noted in this store's ledger, which is what vouches for its time.\n\n\
    Examples:\n  \
    countersign attest dist/acme-1.0-py3-none-any.whl --type test-result --predicate results.json --to ./evidence\n  \
    countersign attest --vsa pkg:pypi/flask@3.1.3 --key release --bundle -o flask.sigstore.json\n  \
    countersign attest sha256:1b50… --name acme-1.0.tgz --type spdx --predicate sbom.json -o acme.intoto.jsonl"
)]
pub struct AttestArgs {
    /// A file, an admitted version (pkg:npm/sigstore@2.3.1), or a digest (sha256:…)
    subject: String,
    /// What is attested: a short name or a type URI
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "vsa")]
    kind: Option<String>,
    /// What is attested, as JSON; - is standard input
    #[arg(long, value_name = "FILE", required_unless_present = "vsa")]
    predicate: Option<PathBuf>,
    /// Countersign: attest what this gate decided about an admitted artifact, as a SLSA summary
    #[arg(long, conflicts_with_all = ["kind", "predicate", "name", "purl"])]
    vsa: bool,
    /// The key's name or id [default: the only one that signs now]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The file's version, where the ledger does not know it
    #[arg(long, value_name = "PURL")]
    purl: Option<Purl>,
    /// The file's name, for a digest that the ledger does not know
    #[arg(long)]
    name: Option<String>,
    /// Write a Sigstore bundle v0.3, as cosign takes it, in place of the DSSE envelope alone
    #[arg(long)]
    bundle: bool,
    /// Where to write it [default: standard output]
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// Add it to this evidence folder, where --evidence and verify find it
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    to: Option<PathBuf>,
    #[command(flatten)]
    secret: SecretArgs,
}

/// A statement that is to be signed.
struct Wanted {
    statement: Value,
    sha256: Sha256Digest,
    purl: Option<Purl>,
    file_name: String,
}

/// Signs and writes. Returns the exit code.
pub async fn attest(context: &Context, args: AttestArgs) -> Result<u8, Failed> {
    let store = context.open().await?;
    let keys = key::keys(&store).await.map_err(Failed::internal)?;
    let key = key::choose(&keys, args.key.as_deref(), now()).map_err(Failed::usage)?;
    let wanted = if args.vsa {
        countersignatures(&store, &args.subject).await?
    } else {
        statements(&store, &args).await?
    };
    let (config, _) = context.config()?;
    let known = OrganisationKeys::load(&config, Some(&store)).await.map_err(Failed::usage)?;
    for w in &wanted {
        let uri = w.statement.get("predicateType").and_then(Value::as_str).unwrap_or_default();
        known.check_use(key, uri, w.purl.as_ref()).map_err(Failed::usage)?;
    }
    let signer = open(&store, key, &args.secret)?;
    let mut lines = Vec::new();
    for w in &wanted {
        let signed = attest::sign(signer.as_ref(), &w.statement).map_err(Failed::internal)?;
        // Given out only once it is noted: a signature without a time is worth less.
        let noted = attest::record(&store, key, &signed, &w.statement, now()).await;
        let index = noted.map_err(Failed::internal)?;
        let line = text(&signed, args.bundle);
        if let Some(folder) = &args.to {
            append(&folder.join(w.sha256.to_hex()), &line)?;
        }
        lines.push(line);
        print::error_line(&format!(
            "{}: attested by {} ({}), ledger entry {index}",
            w.file_name,
            key.name,
            key.id()
        ));
    }
    match (&args.output, &args.to) {
        (Some(file), _) => write(file, &lines.join("\n"))?,
        (None, Some(_)) => {}
        (None, None) => lines.iter().for_each(|line| print::line(line)),
    }
    Ok(0)
}

fn text(signed: &Signed, bundle: bool) -> String {
    if bundle { signed.bundle().to_string() } else { signed.envelope().to_string() }
}

fn open(store: &Store, key: &SigningKey, secret: &SecretArgs) -> Result<Box<dyn Signer>, Failed> {
    let secret = match key.holder.secret() {
        Some(what) => secret.get(&format!("{what} of key {}", key.name), false)?,
        None => Secret::default(),
    };
    holder::open(store, key, &secret, agent_socket().as_deref()).map_err(Failed::usage)
}

/// What the ledger says of the admitted files that are meant, as statements.
async fn countersignatures(store: &Store, subject: &str) -> Result<Vec<Wanted>, Failed> {
    let decisions = newest(store, subject).await?;
    let mut out = Vec::new();
    for d in decisions {
        let statement = attest::countersignature(store, d.index).await.map_err(Failed::usage)?;
        let Some(sha256) = d.sha256 else { continue };
        out.push(Wanted { statement, sha256, purl: Some(d.purl), file_name: d.file_name });
    }
    Ok(out)
}

/// The newest decision about each file that is meant.
async fn newest(store: &Store, subject: &str) -> Result<Vec<StoredDecision>, Failed> {
    let found = if subject.starts_with("pkg:") {
        let purl: Purl = subject.parse().map_err(Failed::usage)?;
        if purl.version().is_none() {
            return Err(Failed::usage(format!("`{subject}` names no version")));
        }
        store.decisions_for_purl(&purl).await?
    } else {
        store.decisions_for_digest(&digest(subject)?).await?
    };
    let mut seen = std::collections::HashSet::new();
    let mut out: Vec<StoredDecision> = found
        .into_iter()
        .filter(|d| {
            d.sha256.is_some() && seen.insert((d.purl.clone(), d.file_name.clone(), d.sha256))
        })
        .collect();
    out.reverse();
    if out.is_empty() {
        return Err(Failed::usage(format!(
            "the ledger holds no decision about a file of `{subject}`; run it through the gate first"
        )));
    }
    Ok(out)
}

fn digest(subject: &str) -> Result<Sha256Digest, Failed> {
    match subject.strip_prefix("sha256:") {
        Some(hex) => hex.parse().map_err(Failed::usage),
        None => super::receipt::digest_of(Path::new(subject)),
    }
}

async fn statements(store: &Store, args: &AttestArgs) -> Result<Vec<Wanted>, Failed> {
    let file = args.predicate.as_deref().unwrap_or(Path::new("-"));
    let predicate = read_predicate(file)?;
    let uri = attest::predicate_type(args.kind.as_deref().unwrap_or_default(), &predicate);
    let uri = uri.map_err(Failed::usage)?;
    let subjects = subjects(store, args).await?;
    let one = |s: Subject| Wanted {
        statement: attest::statement(&s, &uri, predicate.clone()),
        sha256: s.sha256,
        purl: s.purl,
        file_name: s.file_name,
    };
    Ok(subjects.into_iter().map(one).collect())
}

fn read_predicate(file: &Path) -> Result<Value, Failed> {
    let shown = file.display();
    let fail = |e: &dyn std::fmt::Display| Failed::usage(format!("predicate `{shown}`: {e}"));
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().take(MAX_PREDICATE + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|f| f.take(MAX_PREDICATE + 1).read_to_end(&mut bytes))
    };
    read.map_err(|e| fail(&e))?;
    if bytes.len() as u64 > MAX_PREDICATE {
        return Err(fail(&format_args!("it is beyond the limit of {MAX_PREDICATE} bytes")));
    }
    // Strictly: what is signed here must be readable in one way.
    countersign_engine::ledger::parse_strict(&bytes).map_err(|e| fail(&e))
}

async fn subjects(store: &Store, args: &AttestArgs) -> Result<Vec<Subject>, Failed> {
    let subject = args.subject.as_str();
    if subject.starts_with("pkg:") {
        let purl: Purl = subject.parse().map_err(Failed::usage)?;
        if purl.version().is_none() {
            return Err(Failed::usage(format!("`{subject}` names no version")));
        }
        let admitted = store.admitted_by_purl(&purl).await?;
        if admitted.is_empty() {
            return Err(Failed::usage(format!(
                "the ledger holds no admitted file of {subject}; run it through the gate first, or \
                 name the file"
            )));
        }
        let one = |(sha256, file_name)| Subject {
            file_name,
            purl: Some(purl.clone()),
            sha256,
            sha512: None,
        };
        return Ok(admitted.into_iter().map(one).collect());
    }
    let known = async |sha256: &Sha256Digest| -> Result<Option<StoredDecision>, Failed> {
        Ok(store.decisions_for_digest(sha256).await?.into_iter().next())
    };
    if let Some(hex) = subject.strip_prefix("sha256:") {
        let sha256: Sha256Digest = hex.parse().map_err(Failed::usage)?;
        let (name, purl) = match known(&sha256).await? {
            Some(d) => (Some(d.file_name), Some(d.purl)),
            None => (None, None),
        };
        let file_name = args.name.clone().or(name).ok_or_else(|| {
            Failed::usage("the ledger does not know that digest; give the file's name with --name")
        })?;
        let purl = args.purl.clone().or(purl);
        return Ok(vec![Subject { file_name, purl, sha256, sha512: None }]);
    }
    let target = Target::read(Path::new(subject), args.purl.clone())
        .map_err(|e| Failed::usage(format!("`{subject}` cannot be read: {e}")))?;
    let purl = match args.purl.clone() {
        Some(purl) => Some(purl),
        None => known(&target.sha256).await?.map(|d| d.purl),
    };
    let file_name = args.name.clone().unwrap_or_else(|| target.file_name.clone());
    let sha512 = Some(target.sha512().to_vec());
    Ok(vec![Subject { file_name, purl, sha256: target.sha256, sha512 }])
}

/// Adds a line to the attestations of an artifact. The file is replaced whole, so that nobody reads
/// half a line.
fn append(folder: &Path, line: &str) -> Result<(), Failed> {
    let file = folder.join(ATTESTATIONS);
    let fail = |e: std::io::Error| {
        Failed::internal(format!("`{}` cannot be written: {e}", file.display()))
    };
    std::fs::create_dir_all(folder).map_err(fail)?;
    let mut text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(fail(e)),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
    let mut next = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    std::io::Write::write_all(&mut next, text.as_bytes()).map_err(fail)?;
    use std::os::unix::fs::PermissionsExt as _;
    // As any other file that is given out; a temporary one is for its owner alone.
    next.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(fail)?;
    next.persist(&file).map_err(|e| fail(e.error))?;
    Ok(())
}
