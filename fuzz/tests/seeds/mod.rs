//! Sound examples of what each target reads, minted here; the smoke test breaks them. Where the
//! shared vectors lie beside the checkout, real attestations are added.

mod ahead;
mod archives;
mod documents;
mod inventories;
mod signed;

use std::path::PathBuf;

/// The examples of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    match target {
        "archive" => archives::plain(),
        "content" => archives::contents(),
        "structure" => archives::artifacts(),
        "index_compressed" => archives::compressed(),
        "inrelease" => vec![signed::inrelease()],
        "release_gpg" => vec![signed::release_gpg()],
        "receipt" => vec![signed::receipt()],
        "rotations" => vec![signed::rotations()],
        "dsse" => signed::envelopes(),
        "packed_entries" => vec![signed::packed_entries()],
        "checkpoint" => signed::checkpoints(),
        "witness_request" => signed::witness_requests(),
        "proofs" => vec![signed::proofs()],
        "keyed_attestations" => documents::keyed_attestations(),
        "npm_attestations" => [vec![documents::npm_attestations()], real_npm()].concat(),
        "npm_signatures" => vec![documents::npm_signatures()],
        "sigstore_bundle" => real_bundles(),
        "pep740" => [vec![documents::pep740()], real_pep740()].concat(),
        "trusted_root" => vec![documents::trusted_root()],
        "detached_signature" => vec![ahead::detached_signature()],
        "sumdb" => ahead::sumdb(),
        "image_signature" => ahead::image_signatures(),
        "referrers" => ahead::referrers(),
        "cargo_vcs_info" => texts(&[
            r#"{"git":{"sha1":"0123456789abcdef0123456789abcdef01234567","dirty":true},"path_in_vcs":"a"}"#,
        ]),
        "feed_index" => documents::feed_indexes(),
        _ => texts(documents::of(target)),
    }
}

fn shared(path: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("COUNTERSIGN_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    std::fs::read(root.join(path)).ok()
}

fn real_npm() -> Vec<Vec<u8>> {
    let parts =
        [shared("vectors/npm/sigstore-2.3.1.attestations.json"), shared("vectors/npm/keys.json")];
    let [Some(document), Some(keys)] = parts else { return Vec::new() };
    vec![[document.as_slice(), countersign_fuzz::SEPARATOR, &keys].concat()]
}

/// The bundles inside of npm's attestations; without them the bare form of one.
fn real_bundles() -> Vec<Vec<u8>> {
    let mut out = vec![documents::sigstore_bundle()];
    for name in ["sigstore-2.3.1", "trishankatdatadog-supreme-goggles-1.0.5"] {
        let Some(bytes) = shared(&format!("vectors/npm/{name}.attestations.json")) else {
            continue;
        };
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) else { continue };
        for attestation in value["attestations"].as_array().into_iter().flatten() {
            out.push(attestation["bundle"].to_string().into_bytes());
        }
    }
    out
}

fn real_pep740() -> Vec<Vec<u8>> {
    let names = [
        "vectors/pypi/pypi_attestations-0.0.19.tar.gz.provenance",
        "vectors/pypi/rfc8785-0.1.2-py3-none-any.whl.publish.attestation",
    ];
    names.into_iter().filter_map(shared).collect()
}
