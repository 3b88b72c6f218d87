//! A Debian repository with a fixed number of packages, signed by `gpg` with a key of its own.

use super::packages::{Kind, VERSION, file_name, name, package, sha256};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How many packages it has.
pub(super) const PACKAGES: u64 = 60;

/// A signed repository: what lies at which path below its root, and the key.
pub(super) struct Repository {
    /// Lists by path; packages are made when they are asked for.
    pub(super) lists: HashMap<String, Vec<u8>>,
    /// The public key, armored.
    pub(super) keyring: PathBuf,
}

/// The path of a package.
pub(super) fn pool(n: u64) -> String {
    format!("pool/main/s/{}/{}", name(n), file_name(Kind::Debian, n))
}

/// Makes the repository; `None` where there is no `gpg`.
///
/// # Errors
///
/// Says what `gpg` said when it cannot sign.
pub(super) fn make(folder: &Path) -> Result<Option<Repository>, String> {
    let home = folder.join("gnupg");
    fs::create_dir_all(&home).map_err(|e| e.to_string())?;
    private(&home)?;
    if Command::new("gpg").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let signer = Signer { home };
    signer.gpg(&["--passphrase", "", "--quick-gen-key", "soak@example.org", "rsa3072", "sign"])?;
    let keyring = folder.join("archive.asc");
    fs::write(&keyring, signer.gpg(&["--armor", "--export"])?).map_err(|e| e.to_string())?;
    let mut packages = String::new();
    for n in 0..PACKAGES {
        let made = package(Kind::Debian, n)?;
        packages.push_str(&format!(
            "Package: {}\nVersion: {VERSION}\nArchitecture: all\nMaintainer: Soak <soak@example.org>\n\
             Filename: {}\nSize: {}\nSHA256: {}\nDescription: a synthetic package\n\n",
            name(n),
            pool(n),
            made.bytes.len(),
            made.sha256
        ));
    }
    let list = "main/binary-amd64/Packages";
    let digest = sha256(packages.as_bytes());
    let release = format!(
        "Origin: Soak\nLabel: Soak\nSuite: stable\nCodename: stable\n\
         Date: Mon, 01 Jan 2024 00:00:00 UTC\nAcquire-By-Hash: yes\nArchitectures: amd64 all\n\
         Components: main\nSHA256:\n {digest} {} {list}\n",
        packages.len()
    );
    let plain = folder.join("Release");
    fs::write(&plain, &release).map_err(|e| e.to_string())?;
    let plain = plain.display().to_string();
    let signed = signer.gpg(&["--output", "-", "--clearsign", &plain])?;
    let detached = signer.gpg(&["--output", "-", "--armor", "--detach-sign", &plain])?;
    let by_hash = format!("dists/stable/main/binary-amd64/by-hash/SHA256/{digest}");
    let lists = HashMap::from([
        ("dists/stable/InRelease".to_owned(), signed),
        ("dists/stable/Release".to_owned(), release.into_bytes()),
        ("dists/stable/Release.gpg".to_owned(), detached),
        (format!("dists/stable/{list}"), packages.clone().into_bytes()),
        (by_hash, packages.into_bytes()),
    ]);
    Ok(Some(Repository { lists, keyring }))
}

fn private(folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let rights = fs::Permissions::from_mode(0o700);
    fs::set_permissions(folder, rights).map_err(|e| e.to_string())
}

struct Signer {
    home: PathBuf,
}

impl Signer {
    fn gpg(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.home).args(["--batch", "--quiet", "--no-tty"]);
        let out = command.args(arguments).output().map_err(|e| e.to_string())?;
        if out.status.success() {
            return Ok(out.stdout);
        }
        Err(format!("gpg cannot sign: {}", String::from_utf8_lossy(&out.stderr).trim()))
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // gpg leaves an agent behind for its folder.
        let mut end = Command::new("gpgconf");
        let end = end.arg("--homedir").arg(&self.home).args(["--kill", "all"]);
        let _ = end.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
