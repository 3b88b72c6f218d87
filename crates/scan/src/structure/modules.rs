//! Files beside a wheel's own name space: top-level modules that well-known distributions write.
//!
//! Installers let the last one win. Whoever installs one such wheel beside the other has its code
//! under the other's name, with no error and no trace in the other's RECORD until it is compared.

use super::Notes;
use super::contents::Contents;
use countersign_core::{Severity, normalize_pypi_name};
use std::collections::BTreeSet;

/// Modules with the distributions that write them rightfully, forks and rebuilds in wide use included. All names
/// are normalized; the module's own name is one of its distributions' as well.
const KNOWN: &[(&str, &[&str])] = &[
    ("PIL", &["pillow", "pillow-simd"]),
    ("OpenSSL", &["pyopenssl"]),
    ("Crypto", &["pycryptodome", "pycrypto"]),
    ("Cryptodome", &["pycryptodomex"]),
    ("_cffi_backend", &["cffi"]),
    ("_distutils_hack", &["setuptools"]),
    ("_pytest", &["pytest"]),
    ("_yaml", &["pyyaml"]),
    ("aiohttp", &[]),
    ("anyio", &[]),
    ("attr", &["attrs"]),
    ("boto3", &[]),
    ("botocore", &["aiobotocore"]),
    ("bs4", &["beautifulsoup4"]),
    ("certifi", &["certifi-win32"]),
    ("cffi", &[]),
    ("chardet", &[]),
    ("charset_normalizer", &["charset-normalizer"]),
    ("click", &["asyncclick"]),
    ("colorama", &[]),
    ("cryptography", &[]),
    (
        "cv2",
        &[
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        ],
    ),
    ("dateutil", &["python-dateutil"]),
    ("django", &[]),
    ("docutils", &[]),
    ("dotenv", &["python-dotenv"]),
    ("fastapi", &["fastapi-slim"]),
    ("flask", &[]),
    ("fsspec", &[]),
    ("git", &["gitpython"]),
    ("grpc", &["grpcio"]),
    ("h11", &[]),
    ("httpcore", &[]),
    ("httpx", &[]),
    ("idna", &[]),
    ("importlib_metadata", &["importlib-metadata"]),
    ("jinja2", &[]),
    ("jsonschema", &[]),
    ("jwt", &["pyjwt"]),
    ("lxml", &[]),
    ("markdown", &[]),
    ("markupsafe", &[]),
    ("matplotlib", &[]),
    ("mypy", &[]),
    ("numpy", &[]),
    ("openai", &[]),
    ("packaging", &[]),
    ("pandas", &[]),
    ("paramiko", &[]),
    ("pip", &[]),
    ("pkg_resources", &["setuptools", "distribute"]),
    ("platformdirs", &[]),
    ("pluggy", &[]),
    ("psutil", &[]),
    ("psycopg2", &["psycopg2-binary"]),
    ("pyarrow", &["pyarrow-core"]),
    ("pyasn1", &[]),
    ("pycparser", &[]),
    ("pydantic", &[]),
    ("pydantic_core", &["pydantic-core"]),
    ("pygments", &[]),
    ("pytest", &[]),
    ("pytz", &[]),
    ("redis", &[]),
    ("requests", &[]),
    ("requests_toolbelt", &["requests-toolbelt"]),
    ("rich", &[]),
    ("rsa", &[]),
    ("s3transfer", &[]),
    ("scipy", &[]),
    ("setuptools", &["distribute"]),
    ("six", &[]),
    ("sklearn", &["scikit-learn"]),
    ("sniffio", &[]),
    ("sqlalchemy", &[]),
    ("starlette", &[]),
    ("tomli", &[]),
    ("torch", &[]),
    ("tqdm", &[]),
    ("transformers", &[]),
    ("typing_extensions", &["typing-extensions"]),
    ("urllib3", &["urllib3-future"]),
    ("uvicorn", &[]),
    ("virtualenv", &[]),
    ("websockets", &[]),
    ("werkzeug", &[]),
    ("wheel", &[]),
    ("wrapt", &[]),
    ("yaml", &["pyyaml"]),
    ("zipp", &[]),
];

/// Modules that many write by mistake, and that are nobody's.
const COMMON: [&str; 9] =
    ["tests", "test", "docs", "doc", "examples", "example", "scripts", "benchmarks", "src"];

/// Looks at the top-level modules that a wheel of the distribution `name` writes.
pub(super) fn check(name: &str, contents: &Contents, notes: &mut Notes) {
    let name = normalize_pypi_name(name.trim());
    let modules: BTreeSet<&str> = contents.paths().filter_map(module_of).collect();
    for module in modules {
        if COMMON.contains(&module) {
            let title = format!("it writes `{module}` beside its modules, as others do as well");
            notes.structure("common-module", Severity::Info, title, Some(module));
        }
        let Some((_, owners)) = KNOWN.iter().find(|(known, _)| *known == module) else { continue };
        if normalize_pypi_name(module) != name && !owners.contains(&name.as_str()) {
            let owner = owners.first().copied().unwrap_or(module);
            let title = format!("it writes the module `{module}`, which is that of `{owner}`");
            notes.structure("foreign-module", Severity::Low, title, Some(module));
        }
    }
}

/// The top-level module that a path of a wheel becomes, if it becomes one.
fn module_of(path: &str) -> Option<&str> {
    let path = match path.split_once(".data/") {
        Some((top, rest)) if !top.contains('/') => {
            rest.strip_prefix("purelib/").or_else(|| rest.strip_prefix("platlib/"))?
        }
        _ => path,
    };
    match path.split_once('/') {
        Some((top, _)) if top.contains('.') => None,
        Some((top, _)) => Some(top),
        None => path.strip_suffix(".py").or_else(|| {
            let is_library = [".so", ".pyd"].iter().any(|e| path.ends_with(e));
            path.split('.').next().filter(|_| is_library)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_those_that_an_import_finds() {
        for (path, want) in [
            ("requests/__init__.py", Some("requests")),
            ("six.py", Some("six")),
            ("_cffi_backend.cpython-313-x86_64-linux-gnu.so", Some("_cffi_backend")),
            ("a-1.0.data/purelib/yaml/__init__.py", Some("yaml")),
            ("a-1.0.data/scripts/pip", None),
            ("a-1.0.dist-info/METADATA", None),
            ("numpy.libs/libgfortran.so", None),
            ("x.pth", None),
        ] {
            assert_eq!(module_of(path), want, "{path}");
        }
    }

    #[test]
    fn the_table_names_each_module_once_and_distributions_as_they_are_compared() {
        let names: BTreeSet<&str> = KNOWN.iter().map(|(module, _)| *module).collect();
        assert_eq!(names.len(), KNOWN.len());
        for owner in KNOWN.iter().flat_map(|(_, owners)| owners.iter()) {
            assert_eq!(normalize_pypi_name(owner), *owner);
        }
    }
}
