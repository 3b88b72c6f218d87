//! Metadata that is passed on byte for byte: Debian's signed indexes, and the parts of npm's API
//! that hold no package.
//!
//! Nothing that is an archive of packages may come this way, whatever its address says: the first
//! bytes are looked at before any of them leaves.

use crate::engine::Engine;
use crate::http_client::{Failure, redacted};
use crate::request::{ClientRequest, PassedOn};
use bytes::{Bytes, BytesMut};
use countersign_core::ReasonCode;
use countersign_ecosystem::archive::ArchiveKind;
use futures_util::StreamExt as _;
use http::{HeaderMap, header};

/// How many bytes tell what kind of file it is.
const TELLING: usize = 512;

/// Headers that belong to one connection (RFC 9110, section 7.6.1) or that the client library sets.
const HOP_BY_HOP: [header::HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TRAILER,
];

/// A client's headers without those that belong to its own connection.
pub(crate) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut out = headers.clone();
    for hop in HOP_BY_HOP {
        out.remove(hop);
    }
    out
}

impl Engine {
    /// Sends a client's request on, and its answer back, unless the answer is a package.
    pub(crate) async fn pass_on(
        &self,
        request: &ClientRequest,
        body: Bytes,
    ) -> Result<PassedOn, Failure> {
        let mut headers = end_to_end(&request.headers);
        // A part of a file does not tell what it is part of.
        headers.remove(header::RANGE);
        headers.remove(header::IF_RANGE);
        let response =
            self.inner.http.pass_on(request.method.clone(), &request.url, headers, body).await?;
        let status = response.status();
        let mut headers = response.headers().clone();
        for hop in HOP_BY_HOP.into_iter().filter(|h| h != header::CONTENT_LENGTH) {
            headers.remove(hop);
        }
        headers.remove("keep-alive");
        let shown = redacted(&request.url);
        let mut stream = Box::pin(response.bytes_stream());
        let mut first = BytesMut::new();
        while first.len() < TELLING {
            match self.inner.http.next_chunk(&mut stream, &shown).await? {
                Some(chunk) => first.extend_from_slice(&chunk),
                None => break,
            }
        }
        if is_package(request.url.path(), &first) {
            return Err(Failure::new(
                ReasonCode::ClosedDoor,
                format!("{shown} is an archive where metadata was expected"),
            ));
        }
        let engine = self.clone();
        let rest = futures_util::stream::try_unfold(stream, move |mut stream| {
            let (engine, shown) = (engine.clone(), shown.clone());
            async move {
                match engine.inner.http.next_chunk(&mut stream, &shown).await {
                    Ok(Some(chunk)) => Ok(Some((chunk, stream))),
                    Ok(None) => Ok(None),
                    Err(failure) => {
                        // The client only sees its connection end: the report says why.
                        engine.report_address(&shown, &failure);
                        Err(std::io::Error::other(failure.detail))
                    }
                }
            }
        });
        let whole = futures_util::stream::once(async move { Ok(first.freeze()) }).chain(rest);
        Ok(PassedOn { status, headers, body: Box::pin(whole) })
    }
}

/// Whether bytes begin a package. Compressed indexes begin like compressed archives do, and are
/// told apart by their name alone; a deb and a zip are never an index.
fn is_package(path: &str, first: &[u8]) -> bool {
    match ArchiveKind::sniff(first) {
        Some(ArchiveKind::Deb | ArchiveKind::Zip | ArchiveKind::Tar) => true,
        Some(_) => {
            let name = path.rsplit('/').next().unwrap_or("").to_ascii_lowercase();
            [".tgz", ".crate", ".whl", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"]
                .iter()
                .any(|e| name.ends_with(e))
        }
        None => first.starts_with(b"!<arch>"),
    }
}

#[cfg(test)]
mod tests {
    use super::is_package;

    #[test]
    fn packages_are_told_by_their_first_bytes() {
        assert!(is_package("/dists/stable/Packages", b"!<arch>\ndebian-binary   "));
        assert!(is_package("/dists/stable/by-hash/SHA256/00", b"PK\x03\x04\x14\x00\x00\x00"));
        assert!(is_package("/-/npm/v1/evil.tgz", b"\x1f\x8b\x08\x00\x00\x00"));
        assert!(!is_package(
            "/dists/stable/main/binary-amd64/Packages.gz",
            b"\x1f\x8b\x08\x00\x00"
        ));
        assert!(!is_package("/dists/stable/InRelease", b"-----BEGIN PGP SIGNED MESSAGE-----"));
        assert!(!is_package("/-/npm/v1/security/advisories/bulk", b"{}"));
    }
}
