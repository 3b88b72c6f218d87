//! The project's text files: what git tracks, and what it would.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

/// One text file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path from the project's root, `/`-separated.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl File {
    /// The lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// The file's name without its folders.
    #[must_use]
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The number of the first line for which `wanted` holds, or 0.
    pub(super) fn line_of(&self, wanted: impl Fn(&str) -> bool) -> usize {
        self.lines().find(|(_, l)| wanted(l)).map_or(0, |(n, _)| n)
    }
}

/// All text files of the project, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads the files below `root` that git tracks or would track. Where git cannot tell (an
    /// unpacked archive), all files but those in folders called `target` and `.git`.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let paths = match listed_by_git(root) {
            Some(paths) => paths,
            None => walked(root)?,
        };
        let mut files = BTreeMap::new();
        for path in paths {
            // A tracked file may be deleted, a link may lead nowhere or to a folder.
            if !root.join(&path).is_file() {
                continue;
            }
            match String::from_utf8(fs::read(root.join(&path))?) {
                Ok(text) if !text.contains('\0') => files.insert(path, text),
                _ => continue,
            };
        }
        Ok(Self { files: files.into_iter().map(|(path, text)| File { path, text }).collect() })
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The file at a path.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|f| f.path == path)
    }

    /// The Rust sources.
    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|f| f.path.ends_with(".rs"))
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file =
            |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Self { files: files.iter().map(file).collect() }
    }
}

fn listed_by_git(root: &Path) -> Option<Vec<String>> {
    // Git would also answer from a repository that the project merely lies in.
    if !root.join(".git").exists() {
        return None;
    }
    let out = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .ok()
        .filter(|out| out.status.success())?;
    let text = String::from_utf8(out.stdout).ok()?;
    Some(text.split('\0').filter(|p| !p.is_empty()).map(str::to_owned).collect())
}

fn walked(root: &Path) -> io::Result<Vec<String>> {
    let mut out = Vec::new();
    let mut open = vec![String::new()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            if !entry.file_type()?.is_dir() {
                out.push(path);
            } else if name != "target" && name != ".git" {
                open.push(path);
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_the_walk_see_the_same_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut walked = walked(root).unwrap();
        walked.sort();
        assert!(walked.contains(&"src/tidy/tree.rs".to_owned()), "{walked:?}");
        let all = Tree::read(&root.join("..")).unwrap();
        for path in walked {
            let path = format!("xtask/{path}");
            assert!(all.file(&path).is_some(), "{path}");
        }
        assert!(all.files().iter().all(|f| !f.path.starts_with("target/")));
    }
}
