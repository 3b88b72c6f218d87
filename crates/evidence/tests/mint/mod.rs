//! A mint for Sigstore bundles: its own authority, certificate log, Rekor of both versions and time
//! stamp authority, made anew for each test. It makes good bundles, and bad ones by one change to
//! the recipe: whoever signs still signs, so that a bad bundle is bad in that one point.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr
)]

pub mod der;
pub mod key;
pub mod log;
pub mod tsa;
pub mod x509;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use key::KeyPair;
use log::{LogKey, Tree, sha256};
use serde_json::{Value, json};
use tsa::{Stamp, Tsa};
use x509::{Certificate, San};

pub const DAY: i64 = 86_400;
pub const YEAR: i64 = 365 * DAY;
/// When the mint's signatures are made: 15 June 2025.
pub const AT: i64 = 1_750_000_000;

pub const ARTIFACT: &[u8] = b"an artifact";
pub const NAME: &str = "pkg:npm/left@1.0.0";
pub const SUBJECT: &str = "https://forge.example/o/r/.github/workflows/a.yml@refs/tags/v1";
pub const ISSUER: &str = "https://idp.example";
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

pub fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn unb64(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().unwrap()).unwrap()
}

pub fn pem(tag: &str, der: &[u8]) -> String {
    let text = b64(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|c| str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN {tag}-----\n{}\n-----END {tag}-----\n", lines.join("\n"))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    V01,
    V02,
    V03,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A signature over the file.
    Message,
    /// An attestation, logged as `dsse` (or by its hash in the second version).
    Statement,
    /// An attestation, logged as `intoto`.
    Intoto,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rekor {
    First,
    Second,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sct {
    Good,
    Missing,
    UnknownLog,
    OtherCertificate,
    OtherIssuer,
    Twice,
    Empty,
    Garbage,
    Sha1,
    At(i64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    Intermediate,
    Root,
    /// An authority of the same names, but other keys.
    Foreign,
    Itself,
}

/// The signer's certificate.
#[derive(Clone)]
pub struct Leaf {
    pub not_before: i64,
    pub not_after: i64,
    pub names: Vec<San>,
    pub usages: Vec<&'static str>,
    pub key_usage: Option<Vec<u8>>,
    pub ca: bool,
    pub sct: Sct,
    pub issuer: Option<String>,
    pub claims: Vec<(u32, String)>,
    pub more: Vec<Vec<u8>>,
    pub algorithm: String,
    pub by: By,
    /// Another public key than the one that signs.
    pub spki: Option<Vec<u8>>,
}

type Edit = Box<dyn Fn(&mut Value)>;

/// How a bundle is made.
pub struct Recipe {
    pub version: Version,
    pub kind: Kind,
    pub rekor: Rekor,
    pub managed: bool,
    pub artifact: Vec<u8>,
    pub payload: Value,
    /// The payload's exact bytes, in place of `payload`.
    pub payload_text: Option<String>,
    pub payload_type: String,
    /// The payload type that is signed, where it differs from the envelope's.
    pub signed_type: Option<String>,
    pub leaf: Leaf,
    pub integrated: i64,
    pub promise: bool,
    /// The time that the promise covers, where it differs from the entry's.
    pub promised: Option<i64>,
    pub promised_by: Option<LogKey>,
    pub proof: bool,
    pub index: u64,
    pub size: u64,
    pub log_index: u64,
    pub checkpoint_by: Option<LogKey>,
    pub checkpoint_size: Option<u64>,
    pub checkpoint_root: Option<[u8; 32]>,
    pub checkpoint_more: String,
    pub stamps: Vec<Stamp>,
    /// Changes to the log's entry before the log takes it.
    pub body: Option<Edit>,
    pub body_text: Option<String>,
    /// The signature is one over other bytes.
    pub sign_other: bool,
    pub intermediates: Vec<Vec<u8>>,
}

impl Recipe {
    pub fn new(version: Version, kind: Kind, rekor: Rekor) -> Self {
        let second = rekor == Rekor::Second;
        Self {
            version,
            kind,
            rekor,
            managed: false,
            artifact: ARTIFACT.to_vec(),
            payload: statement(),
            payload_text: None,
            payload_type: IN_TOTO.into(),
            signed_type: None,
            leaf: Leaf {
                not_before: AT - 60,
                not_after: AT + 540,
                names: vec![San::Uri(SUBJECT.into())],
                usages: vec![x509::CODE_SIGNING],
                key_usage: Some(vec![0]),
                ca: false,
                sct: Sct::Good,
                issuer: Some(ISSUER.into()),
                claims: claims(),
                more: Vec::new(),
                algorithm: x509::ECDSA_SHA256.into(),
                by: By::Intermediate,
                spki: None,
            },
            integrated: AT,
            promise: !second,
            promised: None,
            promised_by: None,
            proof: version != Version::V01,
            index: 3,
            size: 7,
            log_index: if second { 3 } else { 103 },
            checkpoint_by: None,
            checkpoint_size: None,
            checkpoint_root: None,
            checkpoint_more: String::new(),
            stamps: if second { vec![Stamp::default()] } else { Vec::new() },
            body: None,
            body_text: None,
            sign_other: false,
            intermediates: Vec::new(),
        }
    }
}

/// The attestation that the mint signs if it is not told otherwise.
pub fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": NAME, "digest": {"sha256": hex::encode(sha256(ARTIFACT))}}],
        "predicateType": "https://predicate.example/v1",
        "predicate": {"a": 1},
    })
}

fn claims() -> Vec<(u32, String)> {
    [
        (9, SUBJECT),
        (11, "github-hosted"),
        (12, "https://forge.example/o/r"),
        (13, "aa00000000000000000000000000000000000000"),
        (14, "refs/tags/v1"),
        (15, "12"),
        (17, "34"),
        (18, SUBJECT),
        (21, "https://forge.example/o/r/actions/runs/1/attempts/1"),
    ]
    .map(|(n, s)| (n, s.to_owned()))
    .to_vec()
}

/// All authorities and logs, and the signer's key.
pub struct Mint {
    root: KeyPair,
    intermediate: KeyPair,
    ct: KeyPair,
    pub first: LogKey,
    pub second: LogKey,
    pub tsa: Tsa,
    pub signer: KeyPair,
    /// Another leaf key, for what somebody else signed.
    pub other: KeyPair,
}

fn key() -> KeyPair {
    KeyPair::generate()
}

const LOG_NAME: &str = "log2.example";

impl Mint {
    pub fn new() -> Self {
        Self {
            root: key(),
            intermediate: key(),
            ct: key(),
            first: LogKey::first(),
            second: LogKey::second(LOG_NAME),
            tsa: Tsa::new(),
            signer: key(),
            other: key(),
        }
    }

    /// The mint's `trusted_root.json`.
    pub fn trusted_root(&self) -> Value {
        let window = json!({"start": "2020-01-01T00:00:00Z"});
        let log = |url: &str, spki: &[u8], id: &[u8], details: &str| {
            json!({
                "baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(id)},
                "publicKey": {"rawBytes": b64(spki), "keyDetails": details, "validFor": window},
            })
        };
        let ecdsa = "PKIX_ECDSA_P256_SHA_256";
        let chain = |certs: Vec<Vec<u8>>| -> Value {
            certs.iter().map(|c| json!({"rawBytes": b64(c)})).collect()
        };
        let ct = x509::spki(&self.ct);
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                log("https://log.example", &self.first.spki(), &self.first.id(), ecdsa),
                log("https://log2.example", &self.second.spki(), &self.second.id(), "PKIX_ED25519"),
            ],
            "ctlogs": [log("https://ct.example", &ct, &sha256(&ct), ecdsa)],
            "certificateAuthorities": [{
                "uri": "https://ca.example", "subject": {"organization": "ca", "commonName": "ca"},
                "certChain": {"certificates": chain(vec![self.intermediate(), self.root()])},
                "validFor": window,
            }],
            "timestampAuthorities": [{
                "uri": "https://tsa.example", "subject": {"organization": "t", "commonName": "t"},
                "certChain": {"certificates": chain(self.tsa.chain())}, "validFor": window,
            }],
        })
    }

    fn root(&self) -> Vec<u8> {
        x509::authority("root", "root", &self.root, &self.root, x509::CODE_SIGNING)
    }

    pub fn intermediate(&self) -> Vec<u8> {
        let (key, by) = (&self.intermediate, &self.root);
        x509::authority("intermediate", "root", key, by, x509::CODE_SIGNING)
    }

    /// The signer's key as PEM, for bundles without a certificate.
    pub fn signer_pem(&self) -> String {
        pem("PUBLIC KEY", &x509::spki(&self.signer))
    }

    /// The signer's certificate.
    pub fn leaf(&self, leaf: &Leaf) -> Vec<u8> {
        let issuer = match leaf.by {
            By::Root => "root",
            By::Itself => "leaf",
            By::Intermediate | By::Foreign => "intermediate",
        };
        let mut extensions = vec![x509::alternative_names(&leaf.names)];
        if leaf.names.is_empty() {
            extensions.clear();
        }
        extensions.extend(leaf.key_usage.as_ref().map(|u| x509::key_usage(u)));
        if !leaf.usages.is_empty() {
            extensions.push(x509::extended_key_usage(&leaf.usages, false));
        }
        if leaf.ca {
            extensions.push(x509::basic_constraints(true));
        }
        let fulcio = |n: u32| format!("1.3.6.1.4.1.57264.1.{n}");
        if let Some(issuer) = &leaf.issuer {
            extensions.push(x509::extension(&fulcio(1), false, issuer.as_bytes()));
            extensions.push(x509::extension(&fulcio(8), false, &der::utf8(issuer)));
        }
        let claims = leaf.claims.iter();
        extensions.extend(claims.map(|(n, s)| x509::extension(&fulcio(*n), false, &der::utf8(s))));
        extensions.extend(leaf.more.clone());
        let mut certificate = Certificate {
            serial: 42,
            subject: "leaf".into(),
            issuer: issuer.into(),
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            spki: leaf.spki.clone().unwrap_or_else(|| x509::spki(&self.signer)),
            extensions,
            algorithm: leaf.algorithm.clone(),
        };
        let foreign = key();
        let by = match leaf.by {
            By::Intermediate => &self.intermediate,
            By::Root => &self.root,
            By::Foreign => &foreign,
            By::Itself => &self.signer,
        };
        certificate.extensions.extend(self.sct(leaf, &certificate, by));
        certificate.sign(by)
    }

    fn sct(&self, leaf: &Leaf, certificate: &Certificate, by: &KeyPair) -> Option<Vec<u8>> {
        let (tbs, issuer) = (certificate.tbs(), x509::spki(by));
        let good = log::sct(&self.ct, &issuer, &tbs, AT - 59, 4);
        let list = match leaf.sct {
            Sct::Good => vec![good],
            Sct::Missing => return None,
            Sct::UnknownLog => vec![log::sct(&key(), &issuer, &tbs, AT - 59, 4)],
            Sct::OtherCertificate => {
                let other = Certificate { serial: 43, ..certificate.clone() };
                vec![log::sct(&self.ct, &issuer, &other.tbs(), AT - 59, 4)]
            }
            Sct::OtherIssuer => {
                vec![log::sct(&self.ct, &x509::spki(&self.other), &tbs, AT - 59, 4)]
            }
            Sct::Twice => vec![good.clone(), good],
            Sct::Empty => Vec::new(),
            Sct::Garbage => vec![vec![0; 20]],
            Sct::Sha1 => vec![log::sct(&self.ct, &issuer, &tbs, AT - 59, 2)],
            Sct::At(at) => vec![log::sct(&self.ct, &issuer, &tbs, at, 4)],
        };
        Some(log::sct_extension(&list))
    }

    /// A bundle after `recipe`.
    pub fn bundle(&self, recipe: &Recipe) -> Value {
        let leaf = self.leaf(&recipe.leaf);
        let payload =
            recipe.payload_text.clone().unwrap_or_else(|| recipe.payload.to_string()).into_bytes();
        let kind = recipe.signed_type.as_ref().unwrap_or(&recipe.payload_type);
        let message = match recipe.kind {
            Kind::Message => recipe.artifact.clone(),
            Kind::Statement | Kind::Intoto => pae(kind, &payload),
        };
        let signed = if recipe.sign_other { b"something else".to_vec() } else { message.clone() };
        let signature = self.signer.sign(&signed);
        let verifier = if recipe.managed { self.signer_pem() } else { pem("CERTIFICATE", &leaf) };
        let mut body = entry_body(recipe, &payload, &message, &signature, &verifier);
        if let Some(edit) = &recipe.body {
            edit(&mut body);
        }
        let body = recipe.body_text.clone().unwrap_or_else(|| body.to_string()).into_bytes();
        let entry = self.entry(recipe, &body);
        let stamps: Vec<Value> = recipe
            .stamps
            .iter()
            .map(|s| json!({"signedTimestamp": b64(&self.tsa.stamp(&signature, s))}))
            .collect();
        let mut material = json!({
            "tlogEntries": [entry],
            "timestampVerificationData": {"rfc3161Timestamps": stamps},
        });
        let certificates: Vec<Value> = std::iter::once(&leaf)
            .chain(&recipe.intermediates)
            .map(|c| json!({"rawBytes": b64(c)}))
            .collect();
        if recipe.managed {
            material["publicKey"] = json!({"hint": "signer"});
        } else if recipe.version == Version::V03 {
            material["certificate"] = certificates[0].clone();
        } else {
            material["x509CertificateChain"] = json!({"certificates": certificates});
        }
        let mut bundle = json!({
            "mediaType": match recipe.version {
                Version::V01 => "application/vnd.dev.sigstore.bundle+json;version=0.1",
                Version::V02 => "application/vnd.dev.sigstore.bundle+json;version=0.2",
                Version::V03 => "application/vnd.dev.sigstore.bundle.v0.3+json",
            },
            "verificationMaterial": material,
        });
        match recipe.kind {
            Kind::Message => {
                bundle["messageSignature"] = json!({
                    "messageDigest": {
                        "algorithm": "SHA2_256", "digest": b64(&sha256(&recipe.artifact)),
                    },
                    "signature": b64(&signature),
                });
            }
            Kind::Statement | Kind::Intoto => {
                bundle["dsseEnvelope"] = json!({
                    "payloadType": recipe.payload_type,
                    "payload": b64(&payload),
                    "signatures": [{"sig": b64(&signature)}],
                });
            }
        }
        bundle
    }

    fn entry(&self, recipe: &Recipe, body: &[u8]) -> Value {
        let second = recipe.rekor == Rekor::Second;
        let log = if second { &self.second } else { &self.first };
        let (kind, version) = match (recipe.kind, second) {
            (Kind::Message, false) => ("hashedrekord", "0.0.1"),
            (Kind::Statement, false) => ("dsse", "0.0.1"),
            (Kind::Intoto, false) => ("intoto", "0.0.2"),
            (_, true) => ("hashedrekord", "0.0.2"),
        };
        let mut entry = json!({
            "logIndex": recipe.log_index.to_string(),
            "logId": {"keyId": b64(&log.id())},
            "kindVersion": {"kind": kind, "version": version},
            "canonicalizedBody": b64(body),
        });
        if !second {
            entry["integratedTime"] = recipe.integrated.to_string().into();
        }
        if recipe.promise {
            let promised = format!(
                r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}}"#,
                b64(body),
                recipe.promised.unwrap_or(recipe.integrated),
                hex::encode(log.id()),
                recipe.log_index,
            );
            let by = recipe.promised_by.as_ref().unwrap_or(log);
            entry["inclusionPromise"] =
                json!({"signedEntryTimestamp": b64(&by.sign(promised.as_bytes()))});
        }
        if recipe.proof {
            entry["inclusionProof"] = self.proof(recipe, log, body);
        }
        entry
    }

    fn proof(&self, recipe: &Recipe, log: &LogKey, body: &[u8]) -> Value {
        let tree = Tree::around(body, recipe.index, recipe.size);
        let (origin, name) = match recipe.rekor {
            Rekor::First => ("log.example - 123", "log.example"),
            Rekor::Second => (LOG_NAME, LOG_NAME),
        };
        let size = recipe.checkpoint_size.unwrap_or(tree.size);
        let root = recipe.checkpoint_root.unwrap_or(tree.root);
        let text = log::checkpoint_text(origin, size, &root);
        let by = recipe.checkpoint_by.as_ref().unwrap_or(log);
        let line = by.note_line(name, &text);
        let hashes: Vec<Value> = tree.path.iter().map(|h| b64(h).into()).collect();
        json!({
            "logIndex": tree.index.to_string(),
            "rootHash": b64(&tree.root),
            "treeSize": tree.size.to_string(),
            "hashes": hashes,
            "checkpoint": {"envelope": format!("{text}\n{line}{}", recipe.checkpoint_more)},
        })
    }
}

pub fn pae(kind: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

fn entry_body(
    recipe: &Recipe,
    payload: &[u8],
    message: &[u8],
    signature: &[u8],
    verifier: &str,
) -> Value {
    let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": hex::encode(sha256(bytes))});
    let (sig, pem) = (b64(signature), b64(verifier.as_bytes()));
    if recipe.rekor == Rekor::Second {
        let raw: String = verifier.lines().filter(|l| !l.starts_with("--")).collect();
        let field = if recipe.managed { "publicKey" } else { "x509Certificate" };
        return json!({"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": {
            "data": {"algorithm": "SHA2_256", "digest": b64(&sha256(message))},
            "signature": {"content": sig, "verifier": {
                "keyDetails": "PKIX_ECDSA_P256_SHA_256", field: {"rawBytes": raw}}},
        }}});
    }
    match recipe.kind {
        Kind::Message => json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
            "data": {"hash": hash(message)},
            "signature": {"content": sig, "publicKey": {"content": pem}},
        }}),
        Kind::Statement => json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "envelopeHash": hash(b"not compared"), "payloadHash": hash(payload),
            "signatures": [{"signature": sig, "verifier": pem}],
        }}),
        Kind::Intoto => json!({"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": {
            "envelope": {"payloadType": recipe.payload_type, "signatures": [
                {"publicKey": pem, "sig": b64(sig.as_bytes())}]},
            "hash": hash(b"not compared"), "payloadHash": hash(payload),
        }}}),
    }
}
