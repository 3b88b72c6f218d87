//! The rules for malicious code that are data: the project's own in YARA's language, and folders that the
//! user adds. Compiled ones are kept in the state's folder, under the digest of their sources.

use countersign_scan::malware::FileRules;
use countersign_scan::names::Popular;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Rules, loaded when the first artifact is scanned; those of the user when the engine is opened.
pub(crate) struct RuleSet {
    sources: Sources,
    /// Where compiled rules are kept.
    folder: PathBuf,
    loaded: OnceLock<Result<Arc<dyn FileRules>, String>>,
}

/// Where rules come from.
struct Sources {
    folders: Vec<PathBuf>,
    skip_broken: bool,
}

impl RuleSet {
    /// Reads and compiles the user's rules.
    ///
    /// # Errors
    /// When a folder cannot be read, or a rule does not compile: each with its file and line.
    pub(crate) fn open(
        folders: &[PathBuf],
        skip_broken: bool,
        state: &Path,
    ) -> Result<Self, String> {
        let set = Self {
            sources: Sources { folders: folders.to_vec(), skip_broken },
            folder: state.join("rules"),
            loaded: OnceLock::new(),
        };
        if !folders.is_empty() {
            set.get()?;
        }
        Ok(set)
    }

    /// The rules; `None` in a program that was built without them.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(crate) fn get(&self) -> Result<Option<Arc<dyn FileRules>>, String> {
        if !cfg!(feature = "yara") {
            return match self.sources.folders.as_slice() {
                [] => Ok(None),
                _ => Err("this countersign was built without rules in YARA's language; leave out \
                    `rules`, or build it with the feature `yara`"
                    .to_owned()),
            };
        }
        self.loaded.get_or_init(|| load(&self.sources, &self.folder)).clone().map(Some)
    }
}

/// Reads lists of popular names, the first one first.
///
/// # Errors
/// When one cannot be read, with the line where it is about one.
pub(crate) fn read_popular(files: &[PathBuf]) -> Result<Popular, String> {
    let mut all = Popular::default();
    for file in files {
        let shown = |e: &dyn std::fmt::Display| {
            format!("the popular names `{}` cannot be used: {e}", file.display())
        };
        let text = std::fs::read_to_string(file).map_err(|e| shown(&e))?;
        let list = Popular::parse(&text).map_err(|e| shown(&e))?;
        all.extend(&list).map_err(|e| shown(&e))?;
    }
    Ok(all)
}

#[cfg(not(feature = "yara"))]
fn load(_: &Sources, _: &Path) -> Result<Arc<dyn FileRules>, String> {
    Err("there are none".to_owned())
}

#[cfg(feature = "yara")]
use with_yara::load;

#[cfg(feature = "yara")]
mod with_yara {
    use super::Sources;
    use countersign_scan::malware::FileRules;
    use countersign_scan::yara::{Source, YaraRules};
    use std::fs;
    use std::io::{self, Write as _};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    /// Files of rules in one folder, and how deep its folders are looked into.
    const FILES: usize = 20_000;
    const DEPTH: usize = 16;
    /// Compiled sets that are kept.
    const KEPT: usize = 4;

    pub(super) fn load(from: &Sources, kept: &Path) -> Result<Arc<dyn FileRules>, String> {
        let mut sources = YaraRules::own();
        for folder in &from.folders {
            sources.extend(read(folder)?);
        }
        let digest = YaraRules::digest_of(&sources, from.skip_broken);
        let file = kept.join(format!("{digest}.compiled"));
        if let Some(rules) = private(&file).and_then(|b| YaraRules::from_bytes(&b, &digest).ok()) {
            said(&rules);
            return Ok(Arc::new(rules));
        }
        let rules = YaraRules::compile(&sources, from.skip_broken).map_err(|e| e.to_string())?;
        // Rules that cannot be kept are compiled again next time.
        if let Err(error) = rules.to_bytes().map_err(io::Error::other).and_then(|b| keep(&file, &b))
        {
            tracing::warn!(%error, file = %file.display(), "compiled rules cannot be kept");
        }
        said(&rules);
        Ok(Arc::new(rules))
    }

    /// Rules that were left out are never left out silently.
    fn said(rules: &YaraRules) {
        for because in rules.skipped() {
            tracing::warn!(target: "countersign::rules", "a rule is left out: {because}");
        }
    }

    /// All files of rules below a folder, or the one file, in the order of their names.
    fn read(place: &Path) -> Result<Vec<Source>, String> {
        let failed = |path: &Path, e: &io::Error| {
            format!("the rules `{}` cannot be read: {e}", path.display())
        };
        let mut files = Vec::new();
        if fs::metadata(place).map_err(|e| failed(place, &e))?.is_dir() {
            gather(place, 0, &mut files).map_err(|e| failed(place, &e))?;
            if files.is_empty() {
                let said = "holds no file whose name ends in .yar or .yara";
                return Err(format!("the folder of rules `{}` {said}", place.display()));
            }
        } else {
            files.push(place.to_owned());
        }
        files.sort();
        let source = |path: &PathBuf| {
            let text = fs::read_to_string(path).map_err(|e| failed(path, &e))?;
            Ok(Source { name: path.display().to_string(), text })
        };
        files.iter().map(source).collect()
    }

    fn gather(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let is_rules = path.extension().is_some_and(|e| e == "yar" || e == "yara");
            // Links to folders are not followed: they may lead in a circle.
            if fs::symlink_metadata(&path)?.is_dir() && depth < DEPTH {
                gather(&path, depth + 1, files)?;
            } else if is_rules {
                files.push(path);
            }
            if files.len() > FILES {
                return Err(io::Error::other(format!("there are more than {FILES} files")));
            }
        }
        Ok(())
    }

    /// A file's content, if nobody but this user could have written it: what is read here is trusted.
    fn private(file: &Path) -> Option<Vec<u8>> {
        let is_own = |path: &Path| {
            let metadata = fs::symlink_metadata(path).ok()?;
            let own = fs::metadata("/proc/self").ok().is_none_or(|me| me.uid() == metadata.uid());
            (own && metadata.permissions().mode() & 0o022 == 0).then_some(())
        };
        is_own(file.parent()?)?;
        is_own(file)?;
        fs::read(file).ok()
    }

    fn keep(file: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = file.parent().ok_or_else(|| io::Error::other("it has no folder"))?;
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        new.write_all(bytes)?;
        new.persist(file)?;
        forget_old(folder)
    }

    /// Keeps the newest sets: each change of a rule makes another one.
    fn forget_old(folder: &Path) -> io::Result<()> {
        let mut all: Vec<_> = fs::read_dir(folder)?
            .flatten()
            .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
            .collect();
        all.sort();
        for (_, path) in all.iter().rev().skip(KEPT) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    #[cfg(test)]
    mod tests {
        use super::super::RuleSet;
        use super::*;

        const RULE: &str = "rule mine { strings: $a = \"x\" condition: $a }";

        fn open(folder: &Path, skip: bool, state: &Path) -> Result<RuleSet, String> {
            RuleSet::open(&[folder.to_owned()], skip, state)
        }

        #[test]
        fn rules_of_a_folder_are_kept_compiled_and_their_digest_follows_them() {
            let (state, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            fs::create_dir(mine.path().join("sub")).unwrap();
            fs::write(mine.path().join("sub/a.yar"), RULE).unwrap();
            fs::write(mine.path().join("README.md"), "no rule").unwrap();
            let digest = |set: RuleSet| set.get().unwrap().unwrap().digest().to_owned();
            let first = digest(open(mine.path(), false, state.path()).unwrap());
            let kept = state.path().join("rules").join(format!("{first}.compiled"));
            assert!(kept.is_file());
            assert_eq!(digest(open(mine.path(), false, state.path()).unwrap()), first);
            // What others could have written is not read, and made again.
            fs::set_permissions(&kept, fs::Permissions::from_mode(0o666)).unwrap();
            assert!(private(&kept).is_none());
            fs::write(&kept, "poison").unwrap();
            assert_eq!(digest(open(mine.path(), false, state.path()).unwrap()), first);
            assert!(private(&kept).is_some());
            fs::write(mine.path().join("sub/a.yar"), RULE.replace('x', "y")).unwrap();
            assert_ne!(digest(open(mine.path(), false, state.path()).unwrap()), first);
            for i in 0..6 {
                fs::write(mine.path().join("b.yar"), RULE.replace("mine", &format!("m{i}")))
                    .unwrap();
                open(mine.path(), false, state.path()).unwrap();
            }
            assert_eq!(fs::read_dir(state.path().join("rules")).unwrap().count(), KEPT);
        }

        #[test]
        fn broken_rules_and_folders_are_errors_that_name_them() {
            let (state, mine) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let said = |skip| open(mine.path(), skip, state.path()).err();
            assert!(said(false).unwrap().contains("holds no file"));
            fs::write(mine.path().join("a.yar"), format!("{RULE}\nrule bad {{ condition: $y }}"))
                .unwrap();
            let error = said(false).unwrap();
            assert!(error.contains("a.yar:2:"), "{error}");
            assert_eq!(said(true), None);
            let nowhere = mine.path().join("nowhere");
            assert!(open(&nowhere, true, state.path()).err().unwrap().contains("nowhere"));
        }

        #[test]
        fn without_folders_nothing_is_loaded_ahead() {
            let state = tempfile::tempdir().unwrap();
            let set = RuleSet::open(&[], false, state.path()).unwrap();
            assert!(set.loaded.get().is_none());
            assert!(set.get().unwrap().is_some());
        }
    }
}
