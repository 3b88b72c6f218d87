//! Fresh folders: for the clients best in memory, for what a server keeps on a real disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The least room that the clients' folders need, in KiB, to lie in the shared memory.
const ROOM_KIB: u64 = 4 << 20;

/// A folder of fresh folders, which goes with everything in it.
pub(super) struct Scratch {
    root: PathBuf,
    made: std::cell::Cell<u32>,
    /// Whether removing is quick and leaves nothing for the disk to do.
    in_memory: bool,
}

impl Scratch {
    /// A new folder below `place`.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(super) fn new(place: &Path) -> Result<Self, String> {
        let root = place.join(format!("countersign-bench-{}", std::process::id()));
        fs::create_dir_all(&root)
            .map_err(|e| format!("`{}` cannot be made: {e}", root.display()))?;
        let in_memory = filesystem(&root) == "tmpfs";
        Ok(Self { root, made: std::cell::Cell::new(0), in_memory })
    }

    /// A path that was not used before, for a folder with this in its name.
    pub(super) fn fresh(&self, name: &str) -> PathBuf {
        self.made.set(self.made.get() + 1);
        self.root.join(format!("{:04}-{name}", self.made.get()))
    }

    /// Says that a folder is not needed any more. It is removed now only where that costs nothing:
    /// ext4 makes files three times as slowly just after it removed many.
    pub(super) fn done_with(&self, folder: &Path) {
        if self.in_memory {
            let _ = fs::remove_dir_all(folder);
            let _ = fs::remove_file(folder.with_extension("log"));
        }
    }

    /// The kind of file system that it lies on.
    #[must_use]
    pub(super) fn filesystem(&self) -> String {
        filesystem(&self.root)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Where the clients' folders lie best: in the shared memory, if it is there with room enough.
#[must_use]
pub(super) fn in_memory() -> PathBuf {
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free = memory.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let free = free.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0);
    let shared = Path::new("/dev/shm");
    if shared.is_dir() && free > ROOM_KIB { shared.to_owned() } else { std::env::temp_dir() }
}

/// The kind of file system of the longest mount point above a path.
fn filesystem(path: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let fields = mounts.lines().map(|l| l.split_whitespace().collect::<Vec<_>>());
    let above = fields.filter(|f| f.get(1).is_some_and(|m| path.starts_with(m)));
    let nearest = above.max_by_key(|f| f.get(1).map_or(0, |m| m.len()));
    nearest.and_then(|f| f.get(2).map(|k| (*k).to_owned())).unwrap_or_else(|| "unknown".to_owned())
}

/// Copies a folder with everything in it. What is made can be written to, whatever it was before.
///
/// # Errors
///
/// When something cannot be read or written.
pub(super) fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target)?;
            let mut rights = fs::metadata(&target)?.permissions();
            use std::os::unix::fs::PermissionsExt as _;
            rights.set_mode(rights.mode() | 0o200);
            fs::set_permissions(&target, rights)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_copied_and_can_be_written_to() {
        let scratch = Scratch::new(&std::env::temp_dir().join("countersign-scratch-test")).unwrap();
        let (from, to) = (scratch.fresh("from"), scratch.fresh("to"));
        assert_ne!(from, to);
        fs::create_dir_all(from.join("src")).unwrap();
        fs::write(from.join("src/a"), "a").unwrap();
        let mut rights = fs::metadata(from.join("src/a")).unwrap().permissions();
        rights.set_readonly(true);
        fs::set_permissions(from.join("src/a"), rights).unwrap();
        copy_folder(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("src/a")).unwrap(), "a");
        assert!(!fs::metadata(to.join("src/a")).unwrap().permissions().readonly());
        drop(scratch);
        assert!(!from.exists() && !to.exists());
    }

    #[test]
    fn the_kernels_own_folder_is_no_disk() {
        assert_eq!(filesystem(Path::new("/proc/self")), "proc");
    }
}
