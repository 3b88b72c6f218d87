//! A reader of transparency logs, written from the specifications alone: C2SP tlog-tiles,
//! tlog-checkpoint, signed-note and tlog-cosignature, and RFC 6962. It shares no code with the crate
//! under test: not a type, not a helper.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

pub(crate) type Hash = [u8; 32];

/// A log as a web server would give it out: paths and bytes.
pub(crate) type Site = BTreeMap<String, Vec<u8>>;

/// RFC 6962 section 2.1: MTH, word for word.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves.len() {
        0 => Sha256::digest([]).into(),
        1 => leaves[0],
        n => {
            let k = split(n);
            node(mth(&leaves[..k]), mth(&leaves[k..]))
        }
    }
}

/// "The largest power of two smaller than n."
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

pub(crate) fn node(left: Hash, right: Hash) -> Hash {
    let mut bytes = vec![1];
    bytes.extend(left);
    bytes.extend(right);
    Sha256::digest(bytes).into()
}

pub(crate) fn leaf(entry: &[u8]) -> Hash {
    let mut bytes = vec![0];
    bytes.extend(entry);
    Sha256::digest(bytes).into()
}

/// RFC 6962 section 2.1.1: PATH(m, D[n]).
pub(crate) fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return vec![];
    }
    let k = split(leaves.len());
    if m < k {
        let mut out = path(m, &leaves[..k]);
        out.push(mth(&leaves[k..]));
        out
    } else {
        let mut out = path(m - k, &leaves[k..]);
        out.push(mth(&leaves[..k]));
        out
    }
}

/// RFC 6962 section 2.1.2: PROOF(m, D[n]).
pub(crate) fn proof(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        let n = leaves.len();
        if m == n {
            return if whole { vec![] } else { vec![mth(leaves)] };
        }
        let k = split(n);
        if m <= k {
            let mut out = subproof(m, &leaves[..k], whole);
            out.push(mth(&leaves[k..]));
            out
        } else {
            let mut out = subproof(m - k, &leaves[k..], false);
            out.push(mth(&leaves[..k]));
            out
        }
    }
    if m == 0 || m == leaves.len() { vec![] } else { subproof(m, leaves, true) }
}

/// tlog-tiles, "Merkle Tree": `<N>` in groups of three digits, all but the last with an `x` before.
pub(crate) fn tile_name(kind: &str, n: u64, width: u64) -> String {
    let digits = format!("{n}");
    let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
    let groups: Vec<&str> = (0..padded.len() / 3).map(|i| &padded[i * 3..i * 3 + 3]).collect();
    let (last, before) = groups.split_last().unwrap();
    let mut name = format!("tile/{kind}/");
    for group in before {
        name.push_str(&format!("x{group}/"));
    }
    name.push_str(last);
    if width < 256 {
        name.push_str(&format!(".p/{width}"));
    }
    name
}

/// A checkpoint whose log signature and cosignatures were checked.
pub(crate) struct Head {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    /// Name and time of each witness that signed.
    pub(crate) cosigned: Vec<(String, u64)>,
}

/// A verifier key: `<name>+<hex key id>+<base64 of type and key>`.
struct Vkey {
    name: String,
    id: [u8; 4],
    kind: u8,
    key: VerifyingKey,
}

fn vkey(text: &str) -> Vkey {
    let parts: Vec<&str> = text.splitn(3, '+').collect();
    let bytes = BASE64_STANDARD.decode(parts[2]).unwrap();
    let mut hashed = parts[0].as_bytes().to_vec();
    hashed.push(b'\n');
    hashed.extend(&bytes);
    let id: [u8; 4] = Sha256::digest(hashed)[..4].try_into().unwrap();
    assert_eq!(parts[1], id.iter().map(|b| format!("{b:02x}")).collect::<String>());
    let key = VerifyingKey::from_bytes(bytes[1..].try_into().unwrap()).unwrap();
    Vkey { name: parts[0].to_owned(), id, kind: bytes[0], key }
}

/// Reads a signed checkpoint; `Err` says what does not hold.
pub(crate) fn head(note: &str, log: &str, witnesses: &[&str]) -> Result<Head, String> {
    let log = vkey(log);
    assert_eq!(log.kind, 1);
    let (body, signatures) = note.rsplit_once("\n\n").ok_or("no signatures")?;
    let text = format!("{body}\n");
    let mut signed = false;
    let mut cosigned = Vec::new();
    for line in signatures.strip_suffix('\n').ok_or("no last newline")?.split('\n') {
        let rest = line.strip_prefix("— ").ok_or("not a signature line")?;
        let (name, base64) = rest.split_once(' ').ok_or("no signature")?;
        let bytes = BASE64_STANDARD.decode(base64).map_err(|e| e.to_string())?;
        let (id, signature) = bytes.split_at(4);
        if name == log.name && id == log.id {
            check(&log.key, text.as_bytes(), signature)?;
            signed = true;
        }
        for witness in witnesses.iter().map(|w| vkey(w)) {
            assert_eq!(witness.kind, 4);
            if name == witness.name && id == witness.id {
                let (time, signature) = signature.split_at(8);
                let time = u64::from_be_bytes(time.try_into().unwrap());
                let message = format!("cosignature/v1\ntime {time}\n{text}");
                check(&witness.key, message.as_bytes(), signature)?;
                cosigned.push((name.to_owned(), time));
            }
        }
    }
    if !signed {
        return Err("not signed by the log".into());
    }
    let lines: Vec<&str> = body.split('\n').collect();
    let root = BASE64_STANDARD.decode(lines[2]).map_err(|e| e.to_string())?;
    let root = root.try_into().map_err(|_| "the root is no hash")?;
    let size: u64 = lines[1].parse().map_err(|_| "the size is no number")?;
    if lines[0] != log.name || size.to_string() != lines[1] {
        return Err("origin or size".into());
    }
    Ok(Head { origin: lines[0].to_owned(), size, root, cosigned })
}

fn check(key: &VerifyingKey, message: &[u8], signature: &[u8]) -> Result<(), String> {
    let signature = Signature::from_slice(signature).map_err(|e| e.to_string())?;
    key.verify_strict(message, &signature).map_err(|e| e.to_string())
}

/// tlog-tiles, "Log Entries": big-endian uint16 length-prefixed entries.
fn entries(bundle: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let (mut at, mut out) = (0, Vec::new());
    while at < bundle.len() {
        let length = bundle.get(at..at + 2).ok_or("half a length")?;
        let length = usize::from(u16::from_be_bytes(length.try_into().unwrap()));
        out.push(bundle.get(at + 2..at + 2 + length).ok_or("half an entry")?.to_vec());
        at += 2 + length;
    }
    Ok(out)
}

/// A partial tile, or else the full tile that took its place ("Partial Tiles": clients may fall back).
fn fetch<'a>(site: &'a Site, kind: &str, n: u64, width: u64) -> Result<&'a [u8], String> {
    let exact = tile_name(kind, n, width);
    let found = site.get(&exact).or_else(|| site.get(&tile_name(kind, n, 256)));
    found.map(Vec::as_slice).ok_or(format!("`{exact}` is missing"))
}

/// Reads the whole log of `size` entries: every entry, and every hash tile, each of which must be
/// what the entries make it. Returns the entries.
pub(crate) fn read_all(site: &Site, size: u64) -> Result<Vec<Vec<u8>>, String> {
    let mut all = Vec::new();
    for n in 0..size.div_ceil(256) {
        let width = (size - n * 256).min(256);
        let bundle = entries(fetch(site, "entries", n, width)?)?;
        let wanted = usize::try_from(width).unwrap();
        all.extend(bundle.get(..wanted).ok_or("a bundle is too short")?.to_vec());
    }
    // Level l+1 holds the hashes of the full tiles of level l.
    let mut level: Vec<Hash> = all.iter().map(|e| leaf(e)).collect();
    let mut l = 0;
    while !level.is_empty() {
        for (n, wanted) in level.chunks(256).enumerate() {
            let width = u64::try_from(wanted.len()).unwrap();
            let tile = fetch(site, &l.to_string(), u64::try_from(n).unwrap(), width)?;
            let tile = tile.get(..wanted.len() * 32).ok_or("a tile is too short")?;
            if tile != wanted.concat() {
                return Err(format!("tile {n} of level {l} is not what the entries make it"));
            }
        }
        level = level.chunks_exact(256).map(mth).collect();
        l += 1;
    }
    Ok(all)
}
