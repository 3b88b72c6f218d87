//! Python: wheels (PEP 427) and source distributions.

use super::contents::{Contents, is_wheel};
use super::{Declared, Expected, MetadataFile, Notes, modules, record, same_version};
use countersign_core::{Ecosystem, Severity, normalize_pypi_name};

pub(super) fn examine(
    file_name: &str,
    expected: Option<&Expected>,
    contents: &Contents,
    notes: &mut Notes,
) -> Option<Declared> {
    if is_wheel(file_name) { wheel(expected, contents, notes) } else { source(contents, notes) }
}

/// Whether Python runs the file, or may, at every start: `.pth` files and the two modules that
/// `site` imports, at the top of `site-packages` (the documentation of Python's module `site`).
pub(super) fn is_startup_file(path: &str) -> bool {
    let name = match path.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [data, "purelib" | "platlib", name] if data.ends_with(".data") => *name,
        _ => return false,
    };
    name.ends_with(".pth") || matches!(name, "sitecustomize.py" | "usercustomize.py")
}

fn wheel(expected: Option<&Expected>, contents: &Contents, notes: &mut Notes) -> Option<Declared> {
    startup_hooks(contents, notes);
    let mut infos: Vec<&str> = contents
        .paths()
        .filter_map(|p| p.split_once('/').map(|(top, _)| top))
        .filter(|top| top.ends_with(".dist-info"))
        .collect();
    infos.sort_unstable();
    infos.dedup();
    let info = match infos.as_slice() {
        [info] => *info,
        [] => {
            let title = "the wheel has no `.dist-info` directory".to_owned();
            notes.structure("metadata-missing", Severity::High, title, None);
            return None;
        }
        [first, ..] => {
            let title = "the wheel has several `.dist-info` directories".to_owned();
            notes.structure("several-dist-info", Severity::High, title, Some(first));
            return None;
        }
    };
    if let Some(expected) = expected {
        info_directory(info, expected, notes);
    }
    match find(contents, info, "RECORD") {
        Some(file) => record::check(&file.content, info, &contents.manifest, notes),
        None => missing(info, "RECORD", notes),
    }
    let Some(file) = find(contents, info, "METADATA") else {
        missing(info, "METADATA", notes);
        return None;
    };
    let declared = headers(file, notes)?;
    modules::check(&declared.name, contents, notes);
    Some(declared)
}

fn find<'c>(contents: &'c Contents, info: &str, name: &'c str) -> Option<&'c MetadataFile> {
    let mut files = contents.in_top_directory(name);
    files.rfind(|(top, _)| *top == info).map(|(_, file)| file)
}

fn missing(info: &str, name: &str, notes: &mut Notes) {
    let title = format!("the wheel has no `{info}/{name}`");
    notes.structure("metadata-missing", Severity::High, title, None);
}

/// `name-version.dist-info`, compared as installers do.
fn info_directory(info: &str, expected: &Expected, notes: &mut Notes) {
    let stem = info.strip_suffix(".dist-info").unwrap_or(info);
    let (name, version) = stem.rsplit_once('-').unwrap_or((stem, ""));
    let same_name = normalize_pypi_name(name) == normalize_pypi_name(&expected.name);
    if !same_name || !same_version(Ecosystem::Pypi, version, &expected.version) {
        let title =
            format!("the wheel's `{info}` is not that of `{} {}`", expected.name, expected.version);
        notes.structure("name-mismatch", Severity::High, title, Some(info));
    }
}

fn startup_hooks(contents: &Contents, notes: &mut Notes) {
    for path in contents.paths().filter(|p| is_startup_file(p)) {
        let name = path.rsplit('/').next().unwrap_or(path);
        if !name.ends_with(".pth") {
            let title = "Python imports it at every start".to_owned();
            notes.hook("startup-module", name, title, Some(path));
            continue;
        }
        // Lines that begin with `import` are run, all others are directories.
        let text = contents.metadata.iter().find(|f| f.path == path).map(|f| f.content.as_slice());
        let runs = text
            .unwrap_or(b"import ")
            .split(|b| matches!(b, b'\n' | b'\r'))
            .any(|line| line.starts_with(b"import ") || line.starts_with(b"import\t"));
        let what = if runs { "runs code" } else { "adds directories" };
        let title = format!("a `.pth` file that {what} at every start of Python");
        notes.hook("pth", name, title, Some(path));
    }
}

fn source(contents: &Contents, notes: &mut Notes) -> Option<Declared> {
    let at_root = |path: &str, name: &str| {
        path == name || path.split_once('/').is_some_and(|(_, rest)| rest == name)
    };
    for (name, code) in [("setup.py", "setup-py"), ("pyproject.toml", "build-backend")] {
        if let Some(path) = contents.paths().find(|p| at_root(p, name)) {
            let title = format!("installers build it with its `{name}`, which runs its code");
            notes.hook(code, name, title, Some(path));
        }
    }
    let infos: Vec<&MetadataFile> =
        contents.in_top_directory("PKG-INFO").map(|(_, file)| file).collect();
    let Some(last) = infos.last() else {
        // Distributions from before 2001 and some made by hand have none.
        let title = "the source distribution has no `PKG-INFO`".to_owned();
        notes.structure("metadata-missing", Severity::Low, title, None);
        return None;
    };
    headers(last, notes)
}

/// The `Name` and `Version` headers of core metadata (PEP 643 and before).
fn headers(file: &MetadataFile, notes: &mut Notes) -> Option<Declared> {
    let text = String::from_utf8_lossy(&file.content);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let head = text.lines().take_while(|line| !line.trim().is_empty());
    let (mut name, mut version) = (None::<String>, None::<String>);
    for line in head {
        let Some((key, value)) = line.split_once(':') else { continue };
        let slot = match key.to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "version" => &mut version,
            _ => continue,
        };
        let value = value.trim();
        if slot.as_deref().is_some_and(|v| v != value) {
            let title = format!("`{}` has two different headers `{key}`", file.path);
            notes.structure("metadata-malformed", Severity::High, title, Some(&file.path));
        }
        slot.get_or_insert_with(|| value.to_owned());
    }
    match (name, version) {
        (Some(name), Some(version)) => Some(Declared { name, version }),
        _ => {
            let title = format!("`{}` has no name or no version", file.path);
            notes.structure("metadata-malformed", Severity::High, title, Some(&file.path));
            None
        }
    }
}
