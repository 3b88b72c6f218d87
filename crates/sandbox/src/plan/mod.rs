//! How an artifact of each kind is installed and used in the jail.

mod cargo;
mod debian;
mod npm;
mod python;

use crate::error::SandboxError;
use crate::spec::{Placed, Source, Step, WORK};
use crate::toolchain::Toolchain;
use std::path::{Path, PathBuf};

/// The kinds of artifacts that can be installed, each as its client does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Wheel,
    Sdist,
    Npm,
    Crate,
    Deb,
}

/// A file that is to be installed.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Where its bytes are.
    pub path: PathBuf,
    /// The name that the client knows it by; the path's own may be a digest.
    pub file_name: String,
    /// Artifacts that it depends on, to be installed before it. Their deeds are not its own.
    pub companions: Vec<PathBuf>,
}

/// What runs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) placed: Vec<Placed>,
}

/// The step whose deeds are the companions'.
pub(crate) const DEPENDENCIES: &str = "dependencies";
/// The step of a baseline that asks the client's registry, to learn its name.
pub(crate) const REGISTRY: &str = "registry";

/// Where artifacts lie in the jail.
const IN: &str = "/box/in";

impl Kind {
    /// The kind of a file, by its name.
    pub(crate) fn of(file_name: &str) -> Result<Self, SandboxError> {
        // The name becomes part of a command, and of a path in the jail.
        let plain = |c: char| c.is_ascii_alphanumeric() || "._+!~-@".contains(c);
        if file_name.starts_with('-') || !file_name.chars().all(plain) {
            return Err(SandboxError::Artifact(format!("`{file_name}` is no artifact's name")));
        }
        let lower = file_name.to_ascii_lowercase();
        for (ending, kind) in [
            (".whl", Self::Wheel),
            (".tar.gz", Self::Sdist),
            (".zip", Self::Sdist),
            (".tgz", Self::Npm),
            (".crate", Self::Crate),
            (".deb", Self::Deb),
        ] {
            if lower.ends_with(ending) {
                return Ok(kind);
            }
        }
        Err(SandboxError::Artifact(format!(
            "`{file_name}` is none that is installed here: .whl, .tar.gz, .zip, .tgz, .crate or .deb"
        )))
    }

    /// The client that installs it.
    pub(crate) fn toolchain(self) -> Result<Toolchain, SandboxError> {
        match self {
            Self::Wheel | Self::Sdist => Toolchain::python(),
            Self::Npm => Toolchain::npm(),
            Self::Crate => Toolchain::cargo(),
            Self::Deb => Toolchain::dpkg(),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Wheel => "wheel",
            Self::Sdist => "sdist",
            Self::Npm => "npm",
            Self::Crate => "crate",
            Self::Deb => "deb",
        }
    }

    /// An artifact that does nothing: its file name and bytes.
    pub(crate) fn empty(self) -> std::io::Result<(String, Vec<u8>)> {
        match self {
            Self::Wheel => python::empty_wheel(),
            Self::Sdist => python::empty_sdist(),
            Self::Npm => npm::empty(),
            Self::Crate => cargo::empty(),
            Self::Deb => debian::empty(),
        }
    }

    /// The steps.
    pub(crate) fn plan(self, tools: &Toolchain, artifact: &Artifact) -> Result<Plan, SandboxError> {
        let target = format!("{IN}/{}", artifact.file_name);
        let mut placed = vec![Placed {
            target: target.clone(),
            source: Source::File(absolute(&artifact.path)?),
        }];
        let mut companions = Vec::new();
        for path in &artifact.companions {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            Self::of(name)?;
            let target = format!("{WORK}/with/{name}");
            placed.push(Placed { target: target.clone(), source: Source::File(absolute(path)?) });
            companions.push(target);
        }
        let mut plan = match self {
            Self::Wheel | Self::Sdist => python::plan(tools, &target, &companions),
            Self::Npm => npm::plan(tools, &target, &companions),
            Self::Crate => cargo::plan(&target),
            Self::Deb => debian::plan(&target),
        };
        for step in &mut plan.steps {
            step.environment.push(("PATH".to_owned(), tools.search.clone()));
        }
        plan.placed.append(&mut placed);
        Ok(plan)
    }

    /// The step that asks the client's registry for a package, where the client has one.
    pub(crate) fn registry(self, tools: &Toolchain) -> Option<Step> {
        let mut step = match self {
            Self::Wheel | Self::Sdist => python::registry(tools),
            Self::Npm => npm::registry(tools),
            Self::Crate | Self::Deb => return None,
        };
        step.environment.push(("PATH".to_owned(), tools.search.clone()));
        Some(step)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, SandboxError> {
    path.canonicalize().map_err(|e| SandboxError::file(path, e))
}

fn step(name: &str, command: &[&str], environment: &[(&str, &str)], may_fail: bool) -> Step {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Step {
        name: name.to_owned(),
        command: command.iter().map(|c| (*c).to_owned()).collect(),
        folder: WORK.to_owned(),
        environment: environment.iter().map(owned).collect(),
        may_fail,
    }
}

fn script(target: &str, text: &str) -> Placed {
    Placed { target: target.to_owned(), source: Source::Text(text.to_owned()) }
}

/// A gzip-compressed tar archive of these files.
fn tar_gz(files: &[(&str, &str, u32)]) -> std::io::Result<Vec<u8>> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (path, text, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(*mode);
        tar.append_data(&mut header, path, text.as_bytes())?;
    }
    tar.into_inner()?.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_names_and_names_are_plain() {
        assert_eq!(Kind::of("x-1.0-py3-none-any.whl").unwrap(), Kind::Wheel);
        assert_eq!(Kind::of("x-1.0.tar.gz").unwrap(), Kind::Sdist);
        assert_eq!(Kind::of("x-1.0.tgz").unwrap(), Kind::Npm);
        assert_eq!(Kind::of("x-1.0.crate").unwrap(), Kind::Crate);
        assert_eq!(Kind::of("x_1.0-1_all.deb").unwrap(), Kind::Deb);
        for bad in ["x.exe", "--hash.whl", "a b.whl", "../x.whl", "a;b.whl", ""] {
            assert!(Kind::of(bad).is_err(), "{bad}");
        }
    }
}
