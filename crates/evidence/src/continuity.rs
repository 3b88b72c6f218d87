//! What changed since an earlier version of the same release line: evidence that is gone, another
//! repository, workflow, builder or publisher.
//!
//! Most incidents of stolen tokens show here first: the earlier versions were built by a workflow
//! and say so, and the malicious one was uploaded by hand. The comparison is with one version, the
//! nearest lower one that was admitted, so that a project that stops on purpose is noticed once.
//! Versions of another release line are not compared: an old line keeps its old ways.

mod repository;

pub use repository::metadata_repository;

use countersign_core::{Change, Claim, Evidence, EvidenceState};

/// Kinds of evidence whose loss counts: each says where something was built, or that its registry
/// accepted it.
const KINDS: [&str; 5] = ["npm-provenance", "npm-publish", "npm-signature", "pep740", "sigstore"];

/// What an earlier version showed.
#[derive(Debug, Clone, Copy)]
pub struct Earlier<'a> {
    /// The version.
    pub version: &'a str,
    /// Its evidence, of all of its files of the same kind.
    pub evidence: &'a [Evidence],
}

/// The changes from `earlier` to a version with `evidence`.
#[must_use]
pub fn changes(evidence: &[Evidence], earlier: &Earlier<'_>) -> Vec<Change> {
    let mut out = lost(evidence, earlier);
    if let (Some(now), Some(then)) = (origin(evidence), origin(earlier.evidence)) {
        compare(now, then, earlier.version, &mut out);
    }
    out
}

/// Kinds that held for the earlier version, that the same source was asked for now, and that it does
/// not have. A source that could not be asked has lost nothing.
fn lost(evidence: &[Evidence], earlier: &Earlier<'_>) -> Vec<Change> {
    let verified =
        |list: &[Evidence], kind: &str| list.iter().any(|e| e.kind == kind && e.claim().is_some());
    let unreachable = |kind: &str| {
        let of = |e: &&Evidence| family(&e.kind) == family(kind);
        evidence.iter().filter(of).any(|e| matches!(e.state, EvidenceState::Unreachable { .. }))
    };
    KINDS
        .iter()
        .filter(|k| verified(earlier.evidence, k) && !verified(evidence, k) && !unreachable(k))
        .map(|kind| {
            let detail = format!("{} had {kind}, this version has none", earlier.version);
            change("lost", detail)
        })
        .collect()
}

/// What comes in one document: it is there, or cannot be had, as a whole. Sources name what they
/// could not give by the document.
fn family(kind: &str) -> &str {
    match kind {
        "npm-provenance" | "npm-publish" | "npm-attestations" => "npm-attestations",
        "npm-signature" | "npm-signatures" => "npm-signatures",
        "pep740" | "pep740-provenance" | "pep740-attestation" => "pep740",
        "sigstore" | "sigstore-bundle" => "sigstore",
        other => other,
    }
}

/// The claim that tells most about the origin: one that names a repository, else any of a person.
fn origin(evidence: &[Evidence]) -> Option<&Claim> {
    let claims = || evidence.iter().filter(|e| KINDS.contains(&e.kind.as_str()));
    let claims = || claims().filter_map(Evidence::claim);
    claims().find(|c| c.repository.is_some()).or_else(|| claims().find(|c| c.signer.contains('@')))
}

fn compare(now: &Claim, then: &Claim, version: &str, out: &mut Vec<Change>) {
    let mut differs = |name: &str, now: Option<&str>, then: Option<&str>| {
        if let Some(then) = then
            && now != Some(then)
        {
            let now = now.unwrap_or("nothing that says");
            out.push(change(name, format!("{version} came from {then}, this version from {now}")));
        }
    };
    let (name_now, name_then) = (now.repository.as_deref(), then.repository.as_deref());
    let same_id = now.repository_id.is_some() && now.repository_id == then.repository_id;
    // A repository that was renamed keeps its id; one that took over a name has another.
    if name_now == name_then {
        let id = |c: &Claim| c.repository_id.as_ref().map(|id| format!("repository id {id}"));
        if now.repository_id.is_some() {
            differs("other-repository-id", id(now).as_deref(), id(then).as_deref());
        }
    } else if !same_id {
        differs("other-repository", name_now, name_then);
    }
    differs("other-publisher", publisher(now), publisher(then));
    if name_now == name_then {
        differs("other-workflow", path(now.workflow.as_ref()), path(then.workflow.as_ref()));
    }
    let (builder_now, builder_then) = (path(now.builder.as_ref()), path(then.builder.as_ref()));
    // A workflow that signs is its own builder; then it was compared above.
    if builder_then != path(then.workflow.as_ref()) {
        differs("other-builder", builder_now, builder_then);
    }
    let is_tag = |c: &Claim| c.git_ref.as_deref().is_some_and(|r| r.starts_with("refs/tags/"));
    if is_tag(then) && !is_tag(now) {
        let found = now.git_ref.as_deref().unwrap_or("no ref");
        out.push(change("ref-not-a-tag", format!("{version} was a tag, this version is {found}")));
    }
    if let (Some(at), Some(before)) = (now.signed_at, then.signed_at)
        && at < before
    {
        let detail = format!("signed at {at}, {version} at {before}");
        out.push(change("commit-not-newer", detail));
    }
}

/// Who published: the identity provider, and with it the person where no repository stands for one.
fn publisher(claim: &Claim) -> Option<&str> {
    match &claim.repository {
        Some(_) => claim.issuer.as_deref(),
        None => Some(&claim.signer),
    }
}

/// A workflow's or builder's address without the ref, which is another for each release.
fn path(address: Option<&String>) -> Option<&str> {
    let address = address?;
    // A repository's address may hold an `@` of its own only before its path.
    Some(address.rsplit_once("@refs/").map_or(address.as_str(), |(path, _)| path))
}

fn change(kind: &str, detail: String) -> Change {
    Change { kind: kind.to_owned(), detail: crate::error::shown(&detail) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_core::Timestamp;

    fn claim() -> Claim {
        let workflow = "https://forge.example/o/r/.github/workflows/a.yml@refs/tags/v1.0.0";
        Claim {
            signer: workflow.into(),
            issuer: Some("https://idp.example".into()),
            repository: Some("https://forge.example/o/r".into()),
            repository_id: Some("12".into()),
            commit: Some("aa".into()),
            git_ref: Some("refs/tags/v1.0.0".into()),
            workflow: Some(workflow.into()),
            builder: Some("https://forge.example/runner/hosted".into()),
            signed_at: Some(Timestamp(100)),
            ..Claim::default()
        }
    }

    fn next() -> Claim {
        let workflow = "https://forge.example/o/r/.github/workflows/a.yml@refs/tags/v1.0.1";
        Claim {
            commit: Some("bb".into()),
            git_ref: Some("refs/tags/v1.0.1".into()),
            workflow: Some(workflow.into()),
            signer: workflow.into(),
            signed_at: Some(Timestamp(200)),
            ..claim()
        }
    }

    fn of(kind: &str, state: EvidenceState) -> Evidence {
        Evidence { kind: kind.into(), source: "upstream".into(), state }
    }

    fn verified(kind: &str, claim: Claim) -> Vec<Evidence> {
        vec![of(kind, EvidenceState::Verified { claim: Box::new(claim) })]
    }

    fn kinds(now: &[Evidence], then: &[Evidence]) -> Vec<String> {
        let earlier = Earlier { version: "1.0.0", evidence: then };
        changes(now, &earlier).into_iter().map(|c| c.kind).collect()
    }

    #[test]
    fn an_ordinary_release_changes_nothing() {
        let (now, then) = (verified("pep740", next()), verified("pep740", claim()));
        assert_eq!(kinds(&now, &then), Vec::<String>::new());
        // Nor does what gains evidence, or never had any.
        assert_eq!(kinds(&now, &[]), Vec::<String>::new());
        let none = [of("pep740", EvidenceState::Absent)];
        assert_eq!(kinds(&none, &none), Vec::<String>::new());
    }

    #[test]
    fn evidence_that_is_gone_is_lost_and_what_cannot_be_had_is_not() {
        let then = verified("npm-provenance", claim());
        assert_eq!(kinds(&[of("npm-provenance", EvidenceState::Absent)], &then), ["lost"]);
        assert_eq!(kinds(&[], &then), ["lost"]);
        let because = || EvidenceState::Unreachable { because: "x".into() };
        for kind in ["npm-provenance", "npm-attestations", "npm-publish"] {
            assert_eq!(kinds(&[of(kind, because())], &then), Vec::<String>::new(), "{kind}");
        }
        // Another kind that cannot be had says nothing about this one.
        assert_eq!(kinds(&[of("npm-signatures", because())], &then), ["lost"]);
    }

    #[test]
    fn each_change_is_named_alone() {
        let then = verified("pep740", claim());
        let with = |edit: fn(&mut Claim)| {
            let mut claim = next();
            edit(&mut claim);
            kinds(&verified("pep740", claim), &then)
        };
        assert_eq!(
            with(|c| {
                c.repository = Some("https://forge.example/evil/r".into());
                c.repository_id = Some("99".into());
            }),
            ["other-repository"]
        );
        assert_eq!(with(|c| c.repository_id = Some("99".into())), ["other-repository-id"]);
        assert_eq!(with(|c| c.issuer = Some("https://other.example".into())), ["other-publisher"]);
        assert_eq!(
            with(|c| c.workflow =
                Some("https://forge.example/o/r/.github/workflows/b.yml@refs/tags/v1.0.1".into())),
            ["other-workflow"]
        );
        assert_eq!(
            with(|c| c.builder = Some("https://forge.example/runner/self-hosted".into())),
            ["other-builder"]
        );
        assert_eq!(with(|c| c.git_ref = Some("refs/heads/main".into())), ["ref-not-a-tag"]);
        assert_eq!(with(|c| c.signed_at = Some(Timestamp(99))), ["commit-not-newer"]);
    }

    #[test]
    fn what_is_no_change_raises_no_alarm() {
        let then = verified("pep740", claim());
        let quiet = |edit: fn(&mut Claim)| {
            let mut claim = next();
            edit(&mut claim);
            assert_eq!(kinds(&verified("pep740", claim), &then), Vec::<String>::new());
        };
        // A repository that was renamed or moved keeps its id.
        quiet(|c| c.repository = Some("https://forge.example/new/r".into()));
        // Releases from a branch are only a change where they came from tags before.
        let branch = |c: Claim| Claim { git_ref: Some("refs/heads/main".into()), ..c };
        let (now, then) = (branch(next()), branch(claim()));
        assert!(kinds(&verified("pep740", now), &verified("pep740", then)).is_empty());
        // From a branch to tags is no worse.
        let (now, then) = (next(), branch(claim()));
        assert!(kinds(&verified("pep740", now), &verified("pep740", then)).is_empty());
    }

    #[test]
    fn a_person_in_place_of_a_workflow_is_another_repository() {
        let person = Claim {
            signer: "a@mail.example".into(),
            issuer: Some("https://idp.example".into()),
            ..Claim::default()
        };
        let (now, then) = (verified("pep740", person.clone()), verified("pep740", claim()));
        assert!(kinds(&now, &then).contains(&"other-repository".to_owned()));
        let other = Claim { signer: "b@mail.example".into(), ..person.clone() };
        let (now, then) = (verified("pep740", other), verified("pep740", person));
        assert_eq!(kinds(&now, &then), ["other-publisher"]);
    }
}
