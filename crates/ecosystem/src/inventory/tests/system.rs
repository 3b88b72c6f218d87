//! Crates and Debian packages.

use super::{HEX, expect, refused};
use crate::inventory::Format::{CargoLock, DpkgStatus};

#[test]
fn cargo() {
    let text = format!(
        "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://registry.example/index\"\nchecksum = \"{HEX}\"\n\n[[package]]\nname = \"g\"\nversion = \"0.1.0\"\nsource = \"git+https://git.example/g#0\"\n\n[[package]]\nname = \"me\"\nversion = \"0.1.0\"\n"
    );
    expect(
        CargoLock,
        &text,
        &[
            "3 pkg:cargo/a@1.0.0 a-1.0.0.crate=sha256 from https://registry.example/index",
            "9 Elsewhere g 0.1.0: it is a git checkout",
            "14 Own me 0.1.0: it is a folder of this machine",
        ],
    );
    refused(CargoLock, "version = 9", "versions up to 4");
}

#[test]
fn dpkg() {
    let text = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl (3.0.11-1)\nVersion: 3.0.11-1+b1\nDescription: x\n more\n\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n\nPackage: half\nStatus: install ok unpacked\nArchitecture: all\nVersion: 1:2.0-3\n\nPackage: bad\nStatus: install ok installed\nVersion: ä\n";
    expect(
        DpkgStatus,
        text,
        &[
            "1 pkg:deb/debian/libssl3@3.0.11-1%2Bb1?arch=amd64 source openssl 3.0.11-1",
            "14 pkg:deb/debian/half@1:2.0-3?arch=all source half 1:2.0-3",
            "9 Own gone: it is removed, and only its configuration is left",
            "19 Unreadable bad ä: its version is none",
        ],
    );
    refused(DpkgStatus, "no field\n", "is no field");
}
