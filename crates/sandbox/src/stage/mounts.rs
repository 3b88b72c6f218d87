//! The jail's file system: the system's programs read-only, the rest in memory, of bounded size.

use crate::spec::{HOME, Placed, Source, Spec, USER, WORK};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{Gid, Uid, chdir, chown, geteuid, pivot_root};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Where the old root is while the new one is built.
const OLD: &str = "/old";
/// Where the new root is built.
const NEW: &str = "/new";

/// The system's folders that programs need. A link stays a link.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What of the system's settings programs need; none of it tells about this machine's services.
const SETTINGS: [&str; 13] = [
    "/etc/alternatives",
    "/etc/debian_version",
    "/etc/dpkg",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

const DEVICES: [&str; 5] = ["null", "zero", "full", "random", "urandom"];

/// What can be written in the jail, all in one file system of bounded size.
const WRITABLE: [(&str, &str); 5] =
    [(HOME, "home"), (WORK, "box"), ("/tmp", "tmp"), ("/var/tmp", "vartmp"), ("/dev/shm", "shm")];

fn failed(what: &str) -> impl Fn(nix::Error) -> String {
    let what = what.to_owned();
    move |e| format!("{what}: {e}")
}

fn io(what: &Path) -> impl Fn(std::io::Error) -> String {
    let what = what.display().to_string();
    move |e| format!("`{what}` cannot be made in the jail: {e}")
}

const NONE: Option<&str> = None;

/// Builds the file system and makes it the root. Nothing of the old one can be reached afterwards.
pub(super) fn build(spec: &Spec) -> Result<(), String> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE).map_err(failed("mounts cannot be made private"))?;
    // The mount point is hidden only until its file system is the root.
    tmpfs(Path::new("/tmp"), "size=4m,mode=755")?;
    let base = Path::new("/tmp");
    for name in ["old", "new"] {
        fs::create_dir(base.join(name)).map_err(io(base))?;
    }
    pivot_root("/tmp", "/tmp/old").map_err(failed("the root cannot be changed"))?;
    chdir("/").map_err(failed("the root cannot be entered"))?;
    tmpfs(Path::new(NEW), "size=4m,mode=755")?;
    processes()?;
    system(spec)?;
    devices()?;
    writable(spec)?;
    place(spec)?;
    let sealed = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | HARMLESS;
    mount(NONE, NEW, NONE, sealed, NONE).map_err(failed("the new root cannot be sealed"))?;
    umount2(OLD, MntFlags::MNT_DETACH).map_err(failed("the old root cannot be left"))?;
    chdir(NEW).map_err(failed("the new root cannot be entered"))?;
    // pivot_root(2), NOTES: the old root is put below itself, and taken away.
    pivot_root(".", ".").map_err(failed("the root cannot be changed"))?;
    umount2(".", MntFlags::MNT_DETACH).map_err(failed("the first root cannot be left"))?;
    chdir("/").map_err(failed("the root cannot be entered"))
}

/// No file of a mount makes anyone more powerful.
const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

fn tmpfs(target: &Path, options: &str) -> Result<(), String> {
    mount(Some("tmpfs"), target, Some("tmpfs"), HARMLESS, Some(options))
        .map_err(failed("no file system in memory"))
}

fn new(path: &str) -> PathBuf {
    PathBuf::from(format!("{NEW}{path}"))
}

fn old(path: &Path) -> PathBuf {
    PathBuf::from(format!("{OLD}{}", path.display()))
}

/// `/proc` of the new processes alone. It must come while the old one is there in full: the kernel
/// gives no fresh one to who could not see all of the old.
fn processes() -> Result<(), String> {
    let target = new("/proc");
    fs::create_dir(&target).map_err(io(&target))?;
    let flags = HARMLESS | MsFlags::MS_NOEXEC;
    mount(Some("proc"), &target, Some("proc"), flags, NONE)
        .map_err(failed("the kernel gives no /proc for the jail"))?;
    // The kernel's own bound beside the filter of calls: no namespaces inside.
    let _ = fs::write(target.join("sys/user/max_user_namespaces"), "0");
    Ok(())
}

fn system(spec: &Spec) -> Result<(), String> {
    for path in SYSTEM {
        let at = old(Path::new(path));
        match fs::read_link(&at) {
            Ok(link) => symlink(link, new(path)).map_err(io(&at))?,
            Err(_) if at.is_dir() => bind(Path::new(path))?,
            Err(_) => {}
        }
    }
    for path in SETTINGS {
        if old(Path::new(path)).exists() {
            bind(Path::new(path))?;
        }
    }
    let inside = |path: &&PathBuf| !path.starts_with("/usr") && !path.starts_with("/lib");
    spec.binds.iter().filter(inside).try_for_each(|path| bind(path))?;
    for (name, text) in [
        (
            "/etc/passwd",
            format!("root:x:0:0:root:/root:/bin/sh\ndev:x:{USER}:{USER}:dev:{HOME}:/bin/bash\n"),
        ),
        ("/etc/group", format!("root:x:0:\ndev:x:{USER}:\n")),
        ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n".to_owned()),
        ("/etc/resolv.conf", "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n".to_owned()),
        ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
    ] {
        fs::write(new(name), text).map_err(io(&new(name)))?;
    }
    Ok(())
}

/// Shows a folder or file of the system at its own path, read-only.
fn bind(path: &Path) -> Result<(), String> {
    let (source, target) = (old(path), new(&path.display().to_string()));
    mount_point(&source, &target)?;
    let recursive = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(&source), &target, NONE, recursive, NONE)
        .map_err(failed(&format!("`{}` cannot be shown in the jail", path.display())))?;
    // What is mounted below it needs the same, each by itself.
    for at in mounts_below(&target)? {
        let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | HARMLESS;
        if let Ok(stat) = nix::sys::statvfs::statvfs(&at) {
            // What was locked by the namespace outside must be asked for again.
            let has = stat.flags();
            for (had, flag) in [
                (nix::sys::statvfs::FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
                (nix::sys::statvfs::FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
                (nix::sys::statvfs::FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
                (nix::sys::statvfs::FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
            ] {
                if has.contains(had) {
                    flags |= flag;
                }
            }
        }
        mount(NONE, &at, NONE, flags, NONE)
            .map_err(failed(&format!("`{}` cannot be made read-only", at.display())))?;
    }
    Ok(())
}

fn mount_point(source: &Path, target: &Path) -> Result<(), String> {
    if source.is_dir() {
        return fs::create_dir_all(target).map_err(io(target));
    }
    target.parent().map_or(Ok(()), fs::create_dir_all).map_err(io(target))?;
    fs::write(target, "").map_err(io(target))
}

/// The mount points at and below a path, outermost first (proc_pid_mountinfo(5), field 5).
fn mounts_below(target: &Path) -> Result<Vec<PathBuf>, String> {
    let list = new("/proc/self/mountinfo");
    let text = fs::read_to_string(&list).map_err(io(&list))?;
    let points = text.lines().filter_map(|l| l.split(' ').nth(4)).map(unescape);
    Ok(points.map(PathBuf::from).filter(|p| p.starts_with(target)).collect())
}

/// Mount points are written with spaces and the like as three octal digits.
fn unescape(point: &str) -> String {
    let mut out = String::new();
    let mut rest = point;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let digits = after.get(..3).unwrap_or_default();
        match u8::from_str_radix(digits, 8) {
            Ok(byte) => {
                out.push(char::from(byte));
                rest = after.get(3..).unwrap_or_default();
            }
            Err(_) => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}

fn devices() -> Result<(), String> {
    fs::create_dir(new("/dev")).map_err(io(&new("/dev")))?;
    for name in DEVICES {
        let path = format!("/dev/{name}");
        let (source, target) = (old(Path::new(&path)), new(&path));
        fs::write(&target, "").map_err(io(&target))?;
        mount(Some(&source), &target, NONE, MsFlags::MS_BIND, NONE)
            .map_err(failed(&format!("`{path}` cannot be shown in the jail")))?;
    }
    for (name, link) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(link, new("/dev").join(name)).map_err(io(&new("/dev")))?;
    }
    Ok(())
}

/// One bounded file system, shown at each place that can be written.
fn writable(spec: &Spec) -> Result<(), String> {
    let whole = new("/writable");
    fs::create_dir(&whole).map_err(io(&whole))?;
    let files = (spec.limits.disk / 4096).max(4096);
    tmpfs(&whole, &format!("size={},nr_inodes={files},mode=755", spec.limits.disk))?;
    for (path, name) in WRITABLE {
        let (source, target) = (whole.join(name), new(path));
        fs::create_dir(&source).map_err(io(&source))?;
        fs::create_dir_all(&target).map_err(io(&target))?;
        own(&source)?;
        mount(Some(&source), &target, NONE, MsFlags::MS_BIND, NONE)
            .map_err(failed(&format!("`{path}` cannot be made")))?;
    }
    umount2(&whole, MntFlags::MNT_DETACH).map_err(failed("`/writable` cannot be hidden"))?;
    fs::remove_dir(&whole).map_err(io(&whole))
}

/// Gives a path to the user that the commands run as.
fn own(path: &Path) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    chown(path, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))
        .map_err(failed(&format!("`{}` cannot be given away", path.display())))
}

fn place(spec: &Spec) -> Result<(), String> {
    let bait = spec.canaries.files.iter().map(|(path, text)| Placed {
        target: format!("{HOME}/{path}"),
        source: Source::Text(text.clone()),
    });
    for placed in bait.chain(spec.placed.iter().cloned()) {
        let target = new(&placed.target);
        let mut made = Vec::new();
        let mut folder = target.parent();
        while let Some(at) = folder.filter(|f| !f.exists()) {
            made.push(at.to_owned());
            folder = at.parent();
        }
        for at in made.iter().rev() {
            fs::create_dir(at).map_err(io(at))?;
            own(at)?;
        }
        match &placed.source {
            Source::File(path) => {
                let copied = fs::copy(old(path), &target).map(drop);
                copied.map_err(io(&target))?;
                let plain = fs::Permissions::from_mode(0o644);
                fs::set_permissions(&target, plain).map_err(io(&target))?;
            }
            Source::Text(text) => fs::write(&target, text).map_err(io(&target))?,
        }
        own(&target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        for (written, path) in
            [("/a\\040b", "/a b"), ("/a\\134b", "/a\\b"), ("/plain", "/plain"), ("/a\\9", "/a\\9")]
        {
            assert_eq!(unescape(written), path);
        }
    }
}
