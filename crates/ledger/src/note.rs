//! Signed notes (C2SP signed-note): a text, a blank line, and signature lines.

use crate::key::{SigningKey, VerifierKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Longest note that is read, in bytes: a checkpoint with all its witnesses is far below.
const MAX_NOTE: usize = 1 << 20;

/// Most signature lines that are read, as the specification suggests.
const MAX_SIGNATURES: usize = 100;

/// Why a note cannot be signed or is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a note at all.
    #[error("malformed signed note: {because}")]
    Malformed {
        /// What is wrong with it.
        because: &'static str,
    },
    /// No line is a signature of the key.
    #[error("the note carries no signature of `{key}`")]
    Unsigned {
        /// The key that should have signed.
        key: String,
    },
    /// A line claims to be a signature of the key and is not.
    #[error("the note's signature of `{key}` does not verify")]
    BadSignature {
        /// The key that is said to have signed.
        key: String,
    },
}

/// Refuses what cannot be a note's text.
pub(crate) fn check_text(text: &str) -> Result<(), NoteError> {
    let bad = |because| NoteError::Malformed { because };
    if text.len() > MAX_NOTE {
        return Err(bad("it is longer than 1 MiB"));
    }
    if text.bytes().any(|b| b < 0x20 && b != b'\n') {
        return Err(bad("it holds control characters"));
    }
    if !text.ends_with('\n') {
        return Err(bad("it does not end in a newline"));
    }
    Ok(())
}

/// The note of `text`, which must end in a newline, signed by `key`.
///
/// # Errors
/// When the text cannot be a note's.
pub fn sign_note(text: &str, key: &SigningKey) -> Result<String, NoteError> {
    check_text(text)?;
    let signature = [&key.verifier().id()[..], &key.sign(text.as_bytes())].concat();
    let line = BASE64_STANDARD.encode(signature);
    Ok(format!("{text}\n\u{2014} {} {line}\n", key.name()))
}

/// The text of `note`, when a signature of `key` stands under it.
///
/// Lines of other keys (witnesses) are read for form and otherwise ignored.
///
/// # Errors
/// When the note is malformed, or not signed by `key`.
pub fn verify_note<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, lines) = split_note(note)?;
    let mut found = false;
    for line in lines.iter().filter(|l| l.name == key.name() && l.id == key.id()) {
        if found || !key.accepts(text.as_bytes(), &line.signature) {
            return Err(NoteError::BadSignature { key: key.key_id() });
        }
        found = true;
    }
    if found { Ok(text) } else { Err(NoteError::Unsigned { key: key.key_id() }) }
}

/// One signature line, unverified.
pub(crate) struct SignatureLine<'a> {
    pub(crate) name: &'a str,
    pub(crate) id: [u8; 4],
    pub(crate) signature: Vec<u8>,
}

/// Text and signature lines of a note, of which nothing is verified.
pub(crate) fn split_note(note: &str) -> Result<(&str, Vec<SignatureLine<'_>>), NoteError> {
    check_text(note)?;
    let bad = |because| NoteError::Malformed { because };
    let at = note.rfind("\n\n").ok_or(bad("it has no blank line before its signatures"))?;
    let (text, signatures) = note.split_at(at.saturating_add(1));
    let signatures = signatures.strip_prefix('\n').unwrap_or(signatures);
    Ok((text, signature_lines(signatures)?))
}

/// The signature lines of `text`, each ended by a newline.
pub(crate) fn signature_lines(text: &str) -> Result<Vec<SignatureLine<'_>>, NoteError> {
    let bad = |because| NoteError::Malformed { because };
    let mut out = Vec::new();
    for line in text.lines() {
        if out.len() >= MAX_SIGNATURES {
            return Err(bad("it has more than 100 signatures"));
        }
        let (name, bytes) = signature_line(line).ok_or(bad("a signature line is malformed"))?;
        let (id, signature) = bytes.split_first_chunk().ok_or(bad("a signature is too short"))?;
        out.push(SignatureLine { name, id: *id, signature: signature.to_vec() });
    }
    Ok(out)
}

/// Name and decoded bytes of a line `— name base64`.
fn signature_line(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '+') {
        return None;
    }
    Some((name, BASE64_STANDARD.decode(signature).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn the_note_of_the_go_note_package_verifies() {
        let key = VerifierKey::parse(VKEY).unwrap();
        let text = verify_note(NOTE, &key).unwrap();
        assert!(text.starts_with("If you") && text.ends_with("problem is.\n"));
    }

    #[test]
    fn other_notes_are_rejected() {
        let key = VerifierKey::parse(VKEY).unwrap();
        let twice = NOTE.split_once("\n\n").unwrap().1;
        for (bad, why) in [
            (NOTE.replace("answer", "cancer"), "changed text"),
            (NOTE.replace("x08g", "x08h"), "changed key id or signature"),
            (NOTE.replace("\u{2014} ", "- "), "hyphen for a dash"),
            (NOTE.replace("\n\n", "\n"), "no blank line"),
            (NOTE.trim_end().to_owned(), "no newline at the end"),
            (NOTE.replace(",\n", ",\r\n"), "control characters"),
            (format!("{NOTE}{twice}"), "the same signature twice"),
            (format!("{NOTE}\u{2014} w AAAA\n"), "signature without bytes"),
            (String::new(), "empty"),
            ("\n\n".to_owned(), "no signature"),
        ] {
            assert!(verify_note(&bad, &key).is_err(), "{why}");
        }
    }

    proptest! {
        #[test]
        fn what_we_sign_the_reference_verifies(text in "[ -~\u{e4}\u{20ac}\n]{0,80}", seed: [u8; 32]) {
            let key = SigningKey::from_seed("ledger.example/a", seed).unwrap();
            let text = format!("{text}\n");
            let note = sign_note(&text, &key).unwrap();
            prop_assert_eq!(verify_note(&note, key.verifier()).unwrap(), &text);
            let theirs = signed_note::StandardVerifier::new(&key.verifier().to_string()).unwrap();
            let list = signed_note::VerifierList::new(vec![Box::new(theirs)]);
            let parsed = signed_note::Note::from_bytes(note.as_bytes()).unwrap();
            prop_assert_eq!(parsed.verify(&list).unwrap().0.len(), 1);
        }

        #[test]
        fn no_bytes_panic(text in "\\PC{0,200}") {
            let key = VerifierKey::parse(VKEY).unwrap();
            prop_assert!(verify_note(&text, &key).is_err());
        }
    }
}
