//! Changing the user's files, and taking the changes back.
//!
//! What was changed is written down in `<state>/setup/made.json`, with a copy of each file as it was
//! before the first change. Undoing does not rest on the copies: taking the blocks out gives back
//! what was there, with whatever the user changed since.

use super::block;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What setup has made so far.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Made {
    /// Files that it changed or made.
    pub files: Vec<MadeFile>,
    /// Folders that it made, the outer ones first.
    pub folders: Vec<PathBuf>,
    /// Whether there are shims.
    pub shims: bool,
    /// Variables that the shells set.
    pub variables: Vec<(String, String)>,
    /// The variable without which they set none.
    pub when: Option<String>,
}

/// One file.
#[derive(Debug, Serialize, Deserialize)]
pub struct MadeFile {
    /// The file.
    pub path: PathBuf,
    /// Whether it was not there before.
    pub new: bool,
    /// Whether all of it is setup's.
    pub own: bool,
    /// The copy of what was there.
    pub copy: Option<PathBuf>,
}

/// A file as it is to be.
pub struct Change {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Whether all of it is setup's; with its mode.
    pub own: Option<u32>,
    /// What is in it, for people.
    pub what: String,
}

/// Reads and writes below a folder of the state.
pub struct Keeper {
    folder: PathBuf,
    dry: bool,
    /// What was made.
    pub made: Made,
}

impl Keeper {
    /// Opens what earlier runs wrote down.
    pub fn open(state: &Path, dry: bool) -> Result<Self, String> {
        let folder = state.join("setup");
        let file = folder.join("made.json");
        let made = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| format!("`{}` cannot be read: {e}; move it away", file.display()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Made::default(),
            Err(e) => return Err(format!("`{}` cannot be read: {e}", file.display())),
        };
        Ok(Self { folder, dry, made })
    }

    /// Where the text that bash and zsh read lies.
    pub fn shell_file(&self) -> PathBuf {
        self.folder.join("shell.sh")
    }

    /// Makes a change; what was done, for people.
    pub fn change(&mut self, change: &Change) -> Result<String, String> {
        let shown = change.path.display().to_string();
        let present = read(&change.path)?;
        if present.as_ref() == Some(&change.text) {
            return Ok(format!("same     {shown}: {}", change.what));
        }
        if self.dry {
            let added: Vec<&str> =
                change.text.lines().filter(|l| !has_line(present.as_deref(), l)).collect();
            return Ok(format!(
                "would write {shown}: {}\n    {}",
                change.what,
                added.join("\n    ")
            ));
        }
        self.note(change, present.as_deref())?;
        self.make_folders(&change.path)?;
        write(&change.path, &change.text, change.own)?;
        Ok(format!("wrote    {shown}: {}", change.what))
    }

    fn note(&mut self, change: &Change, present: Option<&str>) -> Result<(), String> {
        if self.made.files.iter().any(|f| f.path == change.path) {
            return Ok(());
        }
        let copy = match present.filter(|_| change.own.is_none()) {
            None => None,
            Some(text) => Some(self.copy(&change.path, text)?),
        };
        self.made.files.push(MadeFile {
            path: change.path.clone(),
            new: present.is_none(),
            own: change.own.is_some(),
            copy,
        });
        // Written down before it is done: what is cut off in between can still be undone.
        self.save()
    }

    fn copy(&mut self, path: &Path, text: &str) -> Result<PathBuf, String> {
        let folder = self.folder.join("before");
        let name: String = path
            .display()
            .to_string()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
            .collect();
        let copy = folder.join(name.trim_start_matches('_'));
        self.make_folders(&copy)?;
        write(&copy, text, Some(0o600))?;
        Ok(copy)
    }

    /// Makes the folders above a file, and notes which were not there.
    fn make_folders(&mut self, file: &Path) -> Result<(), String> {
        let Some(parent) = file.parent() else { return Ok(()) };
        let missing: Vec<&Path> = parent.ancestors().take_while(|d| !d.exists()).collect();
        for folder in missing.into_iter().rev() {
            std::fs::create_dir(folder)
                .map_err(|e| format!("`{}` cannot be made: {e}", folder.display()))?;
            self.made.folders.push(folder.to_path_buf());
        }
        Ok(())
    }

    /// Writes down what was made.
    pub fn save(&mut self) -> Result<(), String> {
        if self.dry {
            return Ok(());
        }
        let file = self.folder.join("made.json");
        self.make_folders(&file)?;
        let text = serde_json::to_string_pretty(&self.made).map_err(|e| e.to_string())?;
        write(&file, &format!("{text}\n"), Some(0o600))
    }

    /// Takes everything back, of the files that were noted and of further ones that hold a block.
    /// What was done, for people, and whether all of it could be.
    pub fn undo(mut self, further: &[PathBuf]) -> (Vec<String>, bool) {
        let (mut said, mut whole) = (Vec::new(), true);
        let noted: Vec<MadeFile> = std::mem::take(&mut self.made.files);
        let known: Vec<PathBuf> = noted.iter().map(|f| f.path.clone()).collect();
        let others = further.iter().filter(|f| !known.contains(f)).map(|path| MadeFile {
            path: path.clone(),
            new: false,
            own: false,
            copy: None,
        });
        for file in noted.into_iter().chain(others) {
            match self.take_back(&file) {
                Ok(None) => {}
                Ok(Some(text)) => said.push(text),
                Err(problem) => {
                    whole = false;
                    said.push(format!("left     {problem}"));
                    self.made.files.push(file);
                }
            }
        }
        if self.dry {
            return (said, whole);
        }
        if !whole {
            if let Err(problem) = self.save() {
                said.push(problem);
            }
            return (said, false);
        }
        // Folders and notes that are empty now; what is not was there before, or holds the user's.
        let _ = std::fs::remove_file(self.folder.join("made.json"));
        for folder in self.made.folders.iter().rev() {
            let _ = std::fs::remove_dir(folder);
        }
        (said, true)
    }

    fn take_back(&self, file: &MadeFile) -> Result<Option<String>, String> {
        let shown = file.path.display().to_string();
        let Some(present) = read(&file.path)? else { return Ok(None) };
        let remove = || {
            if self.dry {
                return Ok(Some(format!("would remove {shown}")));
            }
            std::fs::remove_file(&file.path)
                .map_err(|e| format!("{shown}: cannot be removed: {e}"))?;
            Ok(Some(format!("removed  {shown}")))
        };
        if file.own {
            return remove();
        }
        if !block::is_in(&present) {
            return Ok(None);
        }
        let before = block::strip(&present).map_err(|u| {
            format!("{shown}: line {}: the block has no end; take it out by hand", u.line)
        })?;
        if file.new && before.is_empty() {
            return remove();
        }
        if self.dry {
            return Ok(Some(format!("would restore {shown}")));
        }
        write(&file.path, &before, None)?;
        if let Some(copy) = &file.copy {
            // Kept when the user changed more than setup did: it is then all that there is of it.
            if read(copy)?.as_ref() == Some(&before) {
                let _ = std::fs::remove_file(copy);
            }
        }
        Ok(Some(format!("restored {shown}")))
    }
}

fn has_line(text: Option<&str>, line: &str) -> bool {
    text.is_some_and(|t| t.lines().any(|l| l == line))
}

/// The text of a file; `None` when it is not there.
pub fn read(path: &Path) -> Result<Option<String>, String> {
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| format!("{}: is not in UTF-8, and stays as it is", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: cannot be read: {e}", path.display())),
    }
}

/// Writes a file whole or not at all. A link is followed; the mode of what was there stays.
fn write(path: &Path, text: &str, mode: Option<u32>) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{}: cannot be written: {e}", path.display());
    let real = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let folder = real.parent().unwrap_or(Path::new("/"));
    let mode = std::fs::metadata(&real).map(|m| m.permissions().mode()).ok().or(mode);
    let mut temp = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    temp.write_all(text.as_bytes()).map_err(fail)?;
    let mode = std::fs::Permissions::from_mode(mode.unwrap_or(0o644));
    temp.as_file().set_permissions(mode).map_err(fail)?;
    temp.as_file().sync_all().map_err(fail)?;
    temp.persist(&real).map(drop).map_err(|e| fail(e.error))
}
