//! apt: its own list of index targets names repositories, signed lists and keyrings.

use super::{Asked, Command, Equipment, Gate, Seed, probe};
use countersign_core::{Ecosystem, Purl};
use countersign_ecosystem::debian::{IndexTarget, parse_index_targets};
use countersign_engine::account::{DebianPlan, Plan};
use countersign_engine::debian::ListFile;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Asks apt for its repositories and where their signed lists lie.
pub fn ask(command: &Command) -> Result<Asked, String> {
    let args = command.texts();
    let led_away = |a: &&String| {
        let a = a.to_ascii_lowercase();
        a.contains("acquire::")
            || a.contains("pre-install-pkgs")
            || a.contains("dir::")
            || a.starts_with("dir=")
            || a.starts_with("-odir=")
            || a.contains("rootdir")
            || names_a_file(&a)
    };
    if let Some(bad) = args.iter().find(led_away) {
        return Err(format!(
            "`{bad}` would lead apt past the gate; leave it out or put it into apt.conf.d"
        ));
    }
    let mut asked = Asked::default();
    let mut sources = Sources::default();
    // Before the first update there are sources and no lists: the two are asked for apart.
    for t in targets(&["indextargets", "--no-release-info"])? {
        let Some(repo) = &t.repo_uri else { continue };
        let signed_by =
            t.signed_by.clone().or_else(|| sources.signed_by(t.sources_entry.as_deref()?));
        if !repo.starts_with("http://") && !repo.starts_with("https://") {
            asked.doors.push((
                countersign_engine::shown_address(repo),
                "is not served over http or https; its debs are judged before dpkg sees them"
                    .to_owned(),
                false,
            ));
            continue;
        }
        let known = asked.upstreams.iter().any(|u| &u.address == repo);
        if !known {
            asked.upstreams.push(Seed {
                ecosystem: Ecosystem::Debian,
                address: repo.clone(),
                keyring: signed_by.clone(),
                explicit: false,
            });
        }
    }
    for t in targets(&["indextargets"])? {
        let Some(repo) = &t.repo_uri else { continue };
        let signed_by =
            t.signed_by.clone().or_else(|| sources.signed_by(t.sources_entry.as_deref()?));
        asked.debian.extend(list_file(&t, repo, signed_by));
    }
    for word in &args {
        if let Some((name, version)) = word.split_once('=').filter(|(n, _)| !n.starts_with('-')) {
            asked.pins.push(Purl::new(Ecosystem::Debian, name, Some(version)));
        }
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    let downloading = command.subcommand().as_deref() == Some("download");
    let keep = args.iter().any(|a| a == "-d" || a == "--download-only");
    asked.account = Plan::Debian(DebianPlan {
        downloads: downloading.then_some(here),
        deliver: keep.then(archives),
    });
    Ok(asked)
}

/// Whether a word names a configuration file, which apt would read after the gate's: `-c`, also in
/// one word with other short options (`-yc FILE`), or `--config-file`.
fn names_a_file(word: &str) -> bool {
    if word.starts_with("--") {
        return word.starts_with("--config");
    }
    let Some(flags) = word.strip_prefix('-') else { return false };
    let before = flags.split('c').next().unwrap_or("");
    flags.contains('c') && before.chars().all(|f| "yqsdfmubvhv".contains(f))
}

fn targets(words: &[&str]) -> Result<Vec<IndexTarget>, String> {
    let text = probe::output(OsStr::new("apt-get"), words)?;
    let all = parse_index_targets(&text)
        .map_err(|e| format!("apt's list of index targets cannot be read: {e}"))?;
    Ok(all.into_iter().filter(|t| t.created_by == "Packages").collect())
}

fn list_file(target: &IndexTarget, repo: &str, signed_by: Option<String>) -> Option<ListFile> {
    let packages = target.filename.clone();
    // `…_dists_bookworm_main_binary-amd64_Packages.lz4` lies beside `…_dists_bookworm_InRelease`.
    let prefix = {
        let flat = target.meta_key.replace('/', "_");
        let at = packages.rfind(&flat)?;
        packages.get(..at)?.to_owned()
    };
    Some(ListFile {
        repository: repo.to_owned(),
        meta_key: target.meta_key.clone(),
        packages: PathBuf::from(packages),
        in_release: PathBuf::from(format!("{prefix}InRelease")),
        release: PathBuf::from(format!("{prefix}Release")),
        signed_by,
        codename: target.codename.clone(),
    })
}

/// The source files, for the keyring that each entry names: apt's list of targets leaves it out.
#[derive(Default)]
struct Sources {
    texts: std::collections::BTreeMap<String, String>,
}

impl Sources {
    /// The `Signed-By` of `file:entry` (sources.list(5)): the entry is the paragraph's number in a
    /// deb822 file and the line's number in the one-line form.
    fn signed_by(&mut self, entry: &str) -> Option<String> {
        let (file, number) = entry.rsplit_once(':')?;
        let number: usize = number.parse().ok()?;
        if !self.texts.contains_key(file) {
            let text = std::fs::read_to_string(file).ok()?;
            self.texts.insert(file.to_owned(), text);
        }
        let text = self.texts.get(file)?;
        if !file.ends_with(".sources") {
            return one_line_keyring(text.lines().nth(number.checked_sub(1)?)?);
        }
        let without_comments: String =
            text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let limits = countersign_ecosystem::debian::Deb822Limits::default();
        let all =
            countersign_ecosystem::debian::parse_paragraphs(&without_comments, &limits).ok()?;
        let named = all.get(number.checked_sub(1)?)?.get("Signed-By")?.trim();
        (!named.is_empty()).then(|| named.to_owned())
    }
}

/// `[… signed-by=/path …]` of a one-line source.
fn one_line_keyring(line: &str) -> Option<String> {
    let options = line.split_once('[')?.1.split_once(']')?.0;
    options.split_whitespace().find_map(|o| {
        o.to_ascii_lowercase()
            .starts_with("signed-by=")
            .then(|| o.split_once('=').map(|(_, v)| v.to_owned()))
            .flatten()
    })
}

/// The folder in which apt keeps what it downloaded.
fn archives() -> PathBuf {
    let out = probe::output(OsStr::new("apt-config"), &["shell", "D", "Dir::Cache::archives/d"])
        .unwrap_or_default();
    let path = out.trim().trim_start_matches("D='").trim_end_matches('\'').to_owned();
    if path.is_empty() { PathBuf::from("/var/cache/apt/archives") } else { PathBuf::from(path) }
}

/// Leads apt to the gate: a configuration file that is read after all others.
pub fn equip(asked: &Asked, gate: &Gate<'_>, e: &mut Equipment) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("a configuration for apt cannot be written: {e}");
    let partial = gate.folder.join("archives/partial");
    std::fs::create_dir_all(&partial).map_err(fail)?;
    // apt's methods run as another user and have to reach the archives; the secret stays in a file
    // that only this user reads.
    std::fs::set_permissions(gate.folder, std::fs::Permissions::from_mode(0o711)).map_err(fail)?;
    // Whatever the umask says: apt's user has to get through, and nobody else to the socket.
    for folder in [gate.folder.join("archives"), partial.clone()] {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).map_err(fail)?;
    }
    std::fs::set_permissions(gate.certificate, std::fs::Permissions::from_mode(0o644))
        .map_err(fail)?;
    if let Some(uid) = user_id("_apt") {
        // Not being root, apt runs its methods as this very user and needs no other owner.
        let _ = std::os::unix::fs::chown(&partial, Some(uid), None);
    }
    let file = gate.folder.join("apt.conf");
    let text = configuration(asked, gate)?;
    let mut options = std::fs::OpenOptions::new();
    let mut out = options.write(true).create_new(true).mode(0o600).open(&file).map_err(fail)?;
    std::io::Write::write_all(&mut out, text.as_bytes()).map_err(fail)?;
    e.before.extend(["-c".into(), file.into_os_string()]);
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
        e.remove.push(name.to_owned());
    }
    Ok(())
}

fn configuration(asked: &Asked, gate: &Gate<'_>) -> Result<String, String> {
    let exe = std::env::current_exe()
        .map_err(|e| format!("the gate's own program cannot be found: {e}"))?;
    let mut text = String::new();
    let proxy = gate.proxy;
    for cleared in ["http::Proxy", "https::Proxy"] {
        let _ = writeln!(text, "#clear Acquire::{cleared};");
    }
    for method in ["cdrom", "ssh", "rsh", "ftp"] {
        let _ = writeln!(text, "Dir::Bin::Methods::{method} \"/bin/false\";");
    }
    let _ = writeln!(text, "#clear Acquire::http::Proxy-Auto-Detect;");
    let _ = writeln!(text, "#clear Acquire::http::ProxyAutoDetect;");
    for scheme in ["http", "https"] {
        let _ = writeln!(text, "Acquire::{scheme}::Proxy \"{proxy}/\";");
        let _ = writeln!(text, "Acquire::{scheme}::Timeout \"900\";");
        // A proxy or an exception for one host would come before the general one.
        for seed in &asked.upstreams {
            if let Some(host) =
                url::Url::parse(&seed.address).ok().and_then(|u| u.host_str().map(str::to_owned))
            {
                let _ = writeln!(text, "Acquire::{scheme}::Proxy::{host} \"{proxy}/\";");
            }
        }
    }
    let _ = writeln!(text, "Acquire::https::CAInfo \"{}\";", gate.certificate.display());
    let _ = writeln!(text, "Acquire::Retries \"0\";");
    let _ = writeln!(text, "Dir::Cache::archives \"{}/\";", gate.folder.join("archives").display());
    let _ = writeln!(
        text,
        "DPkg::Pre-Install-Pkgs:: \"'{}' apt-account '{}'\";",
        exe.display(),
        gate.folder.join("account.sock").display()
    );
    Ok(text)
}

fn user_id(name: &str) -> Option<u32> {
    let text = std::fs::read_to_string(Path::new("/etc/passwd")).ok()?;
    text.lines().find_map(|l| {
        let mut fields = l.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_files_are_seen_in_every_spelling() {
        for word in ["-c", "-c=x", "-cx", "-yc", "-qqyc", "--config-file", "--config-file=x"] {
            assert!(names_a_file(word), "{word}");
        }
        for word in
            ["install", "-y", "-oAPT::X=c", "-t=backports", "--no-install-recommends", "-qq"]
        {
            assert!(!names_a_file(word), "{word}");
        }
    }

    #[test]
    fn keyrings_of_both_forms_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let deb822 = folder.path().join("a.sources");
        std::fs::write(&deb822, "Types: deb\n# comment\nURIs: http://d.example/\nSuites: s\nSigned-By: /k/one.gpg\n\nTypes: deb\nURIs: http://e.example/\nSuites: s\n").unwrap();
        let list = folder.path().join("b.list");
        std::fs::write(&list, "# first\ndeb [arch=amd64 signed-by=/k/two.gpg] http://d.example/ s main\ndeb http://e.example s main\n").unwrap();
        let mut s = Sources::default();
        for (file, n, want) in [
            (&deb822, 1, Some("/k/one.gpg")),
            (&deb822, 2, None),
            (&list, 2, Some("/k/two.gpg")),
            (&list, 3, None),
            (&list, 9, None),
        ] {
            assert_eq!(s.signed_by(&format!("{}:{n}", file.display())).as_deref(), want, "{n}");
        }
    }
}
