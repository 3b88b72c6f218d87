//! `[[upstream]]`: what is to be known of a registry, and with which credential it is asked.

use super::read::{At, Reader, Table};
use crate::upstream::Upstream;
use countersign_core::Ecosystem;
use std::path::PathBuf;
use std::time::Duration;

/// One `[[upstream]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// The protocol that it speaks.
    pub ecosystem: Ecosystem,
    /// Its base address.
    pub url: String,
    /// A name for reports, policies and `[[reserve]]`.
    pub name: Option<String>,
    /// Whether its publish times are its own: ages are then unknown, not new.
    pub mirror: bool,
    /// Hosts that its downloads may be redirected to.
    pub redirects: Vec<String>,
    /// How it knows the gate.
    pub credential: Option<CredentialConfig>,
    /// A file of OpenPGP certificates that its Release files must be signed by (Debian).
    pub keyring: Option<PathBuf>,
    /// A file of certificates that its TLS may rest on beside the system's, in PEM.
    pub ca: Option<PathBuf>,
}

/// Where a credential is kept, and how it is shown. The credential itself is never in here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialConfig {
    /// Where it is kept.
    pub place: CredentialPlace,
    /// How it is sent.
    pub scheme: CredentialScheme,
}

/// Where a credential is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialPlace {
    /// In a variable of the gate's environment.
    Env(String),
    /// In a file, which is read again when it changes.
    File(PathBuf),
    /// In what a program prints, which is started again when the time is over.
    Command {
        /// The program and its arguments.
        words: Vec<String>,
        /// How long what it printed is used.
        lifetime: Duration,
    },
}

/// How a credential is sent in `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CredentialScheme {
    /// As a bearer token (RFC 6750).
    #[default]
    Bearer,
    /// As `user:password` (RFC 7617).
    Basic,
    /// As it is: the whole value of the header, as cargo's registries take it.
    Raw,
}

/// What the word `ecosystem` may be.
const ECOSYSTEMS: [(&str, Ecosystem); 4] = [
    ("pypi", Ecosystem::Pypi),
    ("npm", Ecosystem::Npm),
    ("cargo", Ecosystem::Cargo),
    ("debian", Ecosystem::Debian),
];

/// Longest time for which the output of a command is used.
const MAX_LIFETIME: u64 = 7 * 24 * 3600;

/// Reads all `[[upstream]]`, in their order.
pub(super) fn read(root: &mut Table<'_, '_>) -> Vec<UpstreamConfig> {
    let reader = root.reader();
    let mut out: Vec<UpstreamConfig> = Vec::new();
    for table in root.tables("upstream") {
        let span = table.span();
        let Some(next) = read_one(table) else { continue };
        let base = |u: &UpstreamConfig| Upstream::new(u.ecosystem, &u.url).map(|u| u.base);
        let twin = out.iter().find(|u| {
            (u.ecosystem == next.ecosystem && base(u) == base(&next))
                || (u.name.is_some() && u.name == next.name)
        });
        if let Some(twin) = twin {
            let shown = twin.name.clone().unwrap_or_else(|| crate::shown_address(&twin.url));
            reader.problem(
                &span,
                format!("the upstream `{shown}` is there twice"),
                "give each its own address and name",
            );
        }
        out.push(next);
    }
    out
}

fn read_one(mut table: Table<'_, '_>) -> Option<UpstreamConfig> {
    let reader = table.reader();
    let ecosystem = table
        .required("ecosystem", "\"pypi\", \"npm\", \"cargo\" or \"debian\"")
        .and_then(|e| read_ecosystem(reader, &e));
    let url = table.required("url", "\"https://registry.example/\"");
    let name = table.text("name").filter(|n| check_name(reader, n));
    let mirror = table.boolean("mirror").unwrap_or(false);
    let redirects = table.texts("redirects");
    let credential = table.table("credential").and_then(read_credential);
    let keyring = table.text("keyring");
    let ca = table.text("ca");
    table.finish();
    let url = url.filter(|u| check_url(reader, u, ecosystem));
    for host in redirects.iter().filter(|h| h.value.contains(['/', ':']) || h.value.is_empty()) {
        let what = format!("`{}` is no host", host.value);
        reader.problem(&host.span, what, "write the host alone: \"files.example\"");
    }
    if let (Some(k), Some(e)) = (&keyring, ecosystem)
        && e != Ecosystem::Debian
    {
        let what = format!("`keyring` says nothing about an upstream of {e}");
        reader.problem(&k.span, what, "take it out; only Debian's lists are signed by a keyring");
    }
    Some(UpstreamConfig {
        ecosystem: ecosystem?,
        url: url?.value,
        name: name.map(|n| n.value),
        mirror,
        redirects: redirects.into_iter().map(|r| r.value).collect(),
        credential,
        keyring: keyring.map(|k| k.value.into()),
        ca: ca.map(|c| c.value.into()),
    })
}

fn read_ecosystem(reader: &Reader<'_>, at: &At<String>) -> Option<Ecosystem> {
    let found = ECOSYSTEMS.iter().find(|(n, _)| *n == at.value).map(|(_, e)| *e);
    if found.is_none() {
        let names = ECOSYSTEMS.map(|(n, _)| n);
        let what = format!("`{}` is no ecosystem", at.value);
        reader.problem(&at.span, what, format!("write one of {}", names.join(", ")));
    }
    found
}

fn check_url(reader: &Reader<'_>, at: &At<String>, ecosystem: Option<Ecosystem>) -> bool {
    let ecosystem = ecosystem.unwrap_or(Ecosystem::Cargo);
    if Upstream::new(ecosystem, &at.value).is_none() {
        let what = format!(
            "upstream `{}` is not an http or https address",
            crate::shown_address(&at.value)
        );
        reader.problem(&at.span, what, "write \"https://…\"");
        return false;
    }
    if crate::credential_of(&at.value).is_some() {
        reader.problem(
            &at.span,
            format!("upstream `{}` holds a credential in its address", crate::shown_address(&at.value)),
            "take it out of the address and add credential = { env = \"NAME\", scheme = \"basic\" }",
        );
    }
    true
}

/// A name is one segment of the gateway's addresses.
fn check_name(reader: &Reader<'_>, at: &At<String>) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fine = at.value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && at.value.len() <= 100
        && at.value.chars().all(plain);
    if !fine {
        let what = "`name` can be no part of an address";
        reader.problem(
            &at.span,
            what,
            "use up to 100 letters, digits and . _ -, such as \"internal\"",
        );
    }
    fine
}

fn read_credential(mut table: Table<'_, '_>) -> Option<CredentialConfig> {
    let (reader, span) = (table.reader(), table.span());
    let env = table.text("env");
    let file = table.text("file");
    let command = table.texts("command");
    let seconds = table.number("seconds", 1..=MAX_LIFETIME);
    let scheme = table.text("scheme");
    table.finish();
    let remedy =
        "write one of { env = \"NAME\" }, { file = \"/path\" }, { command = [\"program\"] }";
    let given =
        usize::from(env.is_some()) + usize::from(file.is_some()) + usize::from(!command.is_empty());
    if given != 1 {
        let what =
            if given == 0 { "says nowhere where it is kept" } else { "is kept in two places" };
        reader.problem(&span, format!("`credential` {what}"), remedy);
        return None;
    }
    if seconds.is_some() && command.is_empty() {
        reader.problem(&span, "`seconds` belongs to a `command`", "take it out");
    }
    let scheme = match &scheme {
        None => CredentialScheme::default(),
        Some(s) => match s.value.as_str() {
            "bearer" => CredentialScheme::Bearer,
            "basic" => CredentialScheme::Basic,
            "raw" => CredentialScheme::Raw,
            other => {
                let what = format!("`{other}` is no scheme");
                reader.problem(&s.span, what, "write bearer, basic (user:password) or raw");
                return None;
            }
        },
    };
    let place = match (env, file) {
        (Some(e), _) => CredentialPlace::Env(e.value),
        (_, Some(f)) => CredentialPlace::File(f.value.into()),
        _ => CredentialPlace::Command {
            words: command.into_iter().map(|w| w.value).collect(),
            lifetime: Duration::from_secs(seconds.unwrap_or(600)),
        },
    };
    Some(CredentialConfig { place, scheme })
}
