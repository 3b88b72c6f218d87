//! Debian's packages, by dpkg in a root of their own: what runs are the maintainer scripts.

use super::{Plan, script, step, tar_gz};

/// dpkg may not change the root in the jail: scripts run with `DPKG_ROOT` instead
/// (dpkg(1), `--force-script-chrootless`).
const INSTALL: &str = r#"set -eu
for folder in info updates triggers; do mkdir -p "/box/root/var/lib/dpkg/$folder"; done
: > /box/root/var/lib/dpkg/status
: > /box/root/var/lib/dpkg/available
exec dpkg --root=/box/root --log=/box/log --force-not-root --force-depends \
  --force-architecture --force-script-chrootless --force-unsafe-io --install "$1"
"#;

pub(super) fn plan(target: &str) -> Plan {
    let environment = [("DEBIAN_FRONTEND", "noninteractive")];
    let command = ["/bin/sh", "/box/in/install.sh", target];
    Plan {
        steps: vec![step("install", &command, &environment, true)],
        placed: vec![script("/box/in/install.sh", INSTALL)],
    }
}

pub(super) fn empty() -> std::io::Result<(String, Vec<u8>)> {
    let control = "Package: countersign-baseline\nVersion: 1\nArchitecture: all\nMaintainer: nobody\n\
                   Description: nothing\n";
    let control = tar_gz(&[
        ("./control", control, 0o644),
        ("./preinst", "#!/bin/sh\nexit 0\n", 0o755),
        ("./postinst", "#!/bin/sh\nexit 0\n", 0o755),
    ])?;
    let data = tar_gz(&[])?;
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar.gz", &control),
        ("data.tar.gz", &data),
    ] {
        let head =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, bytes.len());
        out.extend(head.as_bytes());
        out.extend(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    Ok(("countersign-baseline_1_all.deb".to_owned(), out))
}
