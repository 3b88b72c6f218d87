//! SBOMs.

use super::{HEX, expect, refused};
use crate::inventory::Format::{CycloneDx, Spdx};

#[test]
fn cyclonedx() {
    let text = format!(
        r#"{{"bomFormat": "CycloneDX", "specVersion": "1.6",
 "metadata": {{"component": {{"type": "application", "name": "me", "purl": "pkg:npm/me@1.0.0"}}}},
 "components": [
  {{"type": "library", "name": "a", "version": "1.0.0",
    "purl": "pkg:npm/a@1.0.0", "hashes": [{{"alg": "SHA-256", "content": "{HEX}"}}, {{"alg": "BLAKE3", "content": "00"}}],
    "components": [
     {{"type": "library", "name": "b", "purl": "pkg:pypi/B_b@2"}}]}},
  {{"type": "operating-system", "name": "debian", "version": "12"}},
  {{"type": "library", "name": "libc6", "purl": "pkg:deb/debian/libc6@2.36-9?arch=amd64&upstream=glibc%402.36-8&distro=debian-11"}},
  {{"type": "library", "name": "bash", "purl": "pkg:deb/debian/bash@5.2-1"}},
  {{"type": "library", "name": "gem", "purl": "pkg:gem/x@1"}},
  {{"type": "library", "name": "open", "purl": "pkg:cargo/serde"}},
  {{"type": "library", "name": "bare", "version": "1"}},
  {{"type": "library", "name": "broken", "purl": "npm/x"}}]}}"#
    );
    expect(
        CycloneDx,
        &text,
        &[
            "5 pkg:npm/a@1.0.0 =sha256",
            "7 pkg:pypi/b-b@2",
            "9 pkg:deb/debian/libc6@2.36-9?arch=amd64 source glibc 2.36-8 release 11",
            "10 pkg:deb/debian/bash@5.2-1 source bash 5.2-1 release 12",
            "8 Elsewhere debian 12: it is of type `operating-system`, and has no purl",
            "11 Elsewhere pkg:gem/x@1: packages of type `gem` are not judged",
            "12 Unpinned pkg:cargo/serde: it names no version",
            "13 Unreadable bare 1: it has no purl",
            "14 Unreadable npm/x: it is no package URL",
        ],
    );
    refused(CycloneDx, r#"{"bomFormat": "CycloneDX", "specVersion": "2.0"}"#, "1.4 to 1.6");
    refused(CycloneDx, r#"{"specVersion": "1.6"}"#, "it is not `CycloneDX`");
}

#[test]
fn spdx() {
    let text = format!(
        r#"{{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "documentDescribes": ["SPDXRef-me"],
 "packages": [
  {{"SPDXID": "SPDXRef-me", "name": "me", "versionInfo": "1"}},
  {{"SPDXID": "SPDXRef-a", "name": "a", "versionInfo": "1.0.0",
    "checksums": [{{"algorithm": "SHA256", "checksumValue": "{HEX}"}}],
    "externalRefs": [
     {{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:cargo/a@1.0.0"}}]}},
  {{"SPDXID": "SPDXRef-x", "name": "x"}}]}}"#
    );
    expect(
        Spdx,
        &text,
        &[
            "7 pkg:cargo/a@1.0.0 =sha256",
            "3 Own me 1: it is what the document is about",
            "8 Elsewhere x: it has no purl",
        ],
    );
    refused(Spdx, r#"{"spdxVersion": "SPDX-3.0"}"#, "SPDX-2.2 and SPDX-2.3");
}
