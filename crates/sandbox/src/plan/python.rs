//! Wheels and source distributions, by pip.

use super::{DEPENDENCIES, Plan, REGISTRY, script, step, tar_gz};
use crate::spec::Step;
use crate::toolchain::Toolchain;
use std::io::Write as _;

/// The user's own site folder is one whose `.pth` files run at each start of the interpreter.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("PYTHONUSERBASE", "/box/py"),
    ("PYTHONPATH", "/box/deps"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ("PIP_NO_INPUT", "1"),
    ("PIP_BREAK_SYSTEM_PACKAGES", "1"),
    ("PIP_NO_CACHE_DIR", "1"),
];

/// Imports each module that was installed, whatever the others do.
const IMPORT: &str = r#"import importlib, os, site, sys
folder = site.getusersitepackages()
names = set()
for entry in os.listdir(folder) if os.path.isdir(folder) else []:
    stem, _, ending = entry.partition(".")
    if os.path.isdir(os.path.join(folder, entry)):
        names.update([entry] if not ending and stem != "__pycache__" else [])
    elif ending == "py" or ending.endswith("so"):
        names.add(stem)
public = {name for name in names if not name.startswith("_")}
failed = 0 if names else 1
if not names:
    print("nothing was installed that can be imported")
for name in sorted(public or names):
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed += 1
        print(f"{name} cannot be imported: {type(error).__name__}: {error}")
sys.stdout.flush()
sys.exit(1 if failed else 0)
"#;

/// Installs a source distribution by pip. Python without the package `wheel` cannot build one of
/// `setup.py`, which then installs it itself.
const INSTALL: &str = r#"python=$1
file=$2
"$python" -m pip install --quiet --no-deps --no-index --no-build-isolation --user --no-warn-script-location "$file" && exit 0
mkdir -p /box/sdist && cd /box/sdist || exit 1
case $file in
  *.zip) "$python" -m zipfile -e "$file" . || exit 1 ;;
  *) tar -xzf "$file" --no-same-owner || exit 1 ;;
esac
cd ./*/ && [ -f setup.py ] || exit 1
echo 'countersign: pip could not build it; its setup.py installs it'
exec "$python" setup.py -q install --user --single-version-externally-managed --record /box/record
"#;

pub(super) fn plan(tools: &Toolchain, target: &str, companions: &[String]) -> Plan {
    let python = tools.program.display().to_string();
    let install =
        ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"];
    let mut steps = Vec::new();
    if !companions.is_empty() {
        let to = ["--target", "/box/deps"];
        let files = companions.iter().map(String::as_str);
        let command: Vec<&str> =
            [python.as_str()].into_iter().chain(install).chain(to).chain(files).collect();
        steps.push(step(DEPENDENCIES, &command, &ENVIRONMENT, false));
    }
    let to = ["--user", "--no-warn-script-location", target];
    let command: Vec<&str> = match target.ends_with(".whl") {
        true => [python.as_str()].into_iter().chain(install).chain(to).collect(),
        false => vec!["/bin/sh", "/box/in/install.sh", &python, target],
    };
    steps.push(step("install", &command, &ENVIRONMENT, false));
    steps.push(step("start", &[&python, "-c", "pass"], &ENVIRONMENT, true));
    steps.push(step("import", &[&python, "/box/in/import.py"], &ENVIRONMENT, true));
    let placed = vec![script("/box/in/import.py", IMPORT), script("/box/in/install.sh", INSTALL)];
    Plan { steps, placed }
}

pub(super) fn registry(tools: &Toolchain) -> Step {
    let python = tools.program.display().to_string();
    let ask = ["-m", "pip", "download", "--retries", "0", "--timeout", "2", "countersign-baseline"];
    let command: Vec<&str> = [python.as_str()].into_iter().chain(ask).collect();
    step(REGISTRY, &command, &ENVIRONMENT, true)
}

pub(super) fn empty_wheel() -> std::io::Result<(String, Vec<u8>)> {
    let info = "countersign_baseline-1.dist-info";
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (path, text) in [
        ("countersign_baseline.py".to_owned(), ""),
        (
            format!("{info}/METADATA"),
            "Metadata-Version: 2.1\nName: countersign-baseline\nVersion: 1\n",
        ),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: countersign\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (format!("{info}/RECORD"), ""),
    ] {
        zip.start_file(path, options)?;
        zip.write_all(text.as_bytes())?;
    }
    let bytes = zip.finish()?.into_inner();
    Ok(("countersign_baseline-1-py3-none-any.whl".to_owned(), bytes))
}

pub(super) fn empty_sdist() -> std::io::Result<(String, Vec<u8>)> {
    let setup = "from setuptools import setup\n\
                 setup(name='countersign-baseline', version='1', py_modules=['countersign_baseline'])\n";
    let info = "Metadata-Version: 2.1\nName: countersign-baseline\nVersion: 1\n";
    let bytes = tar_gz(&[
        ("countersign_baseline-1/setup.py", setup, 0o644),
        ("countersign_baseline-1/countersign_baseline.py", "", 0o644),
        ("countersign_baseline-1/PKG-INFO", info, 0o644),
    ])?;
    Ok(("countersign_baseline-1.tar.gz".to_owned(), bytes))
}
