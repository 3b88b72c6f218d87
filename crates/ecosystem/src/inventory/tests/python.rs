//! Python's lock files.

use super::{HEX, expect, refused};
use crate::inventory::Format::{PoetryLock, PyLock, Requirements, UvLock};

#[test]
fn requirements() {
    let text = format!(
        "# all\n--index-url https://registry.example/simple\n-r more.txt\nFlask==2.0.0 ; python_version > '3' \\\n  --hash=sha256:{HEX} \\\n  --hash=md5:00\nrequests>=2\n-e .\nx @ git+https://me:secret@git.example/x\n"
    );
    expect(
        Requirements,
        &text,
        &[
            "4 pkg:pypi/flask@2.0.0 =sha256",
            "4 Unreadable --hash=md5:00: it is no requirement",
            "7 Unpinned requests>=2: it names no exact version; pin it with `==`",
            "8 Elsewhere .: it lies on this machine",
            "9 Elsewhere git+https://git.example/x: it is a version control checkout",
            "3 include more.txt",
        ],
    );
}

#[test]
fn uv() {
    let text = format!(
        "version = 1\n\n[[package]]\nname = \"flask\"\nversion = \"2.0.0\"\nsource = {{ registry = \"https://registry.example/simple\" }}\nsdist = {{ url = \"https://files.example/flask-2.0.0.tar.gz#x\", hash = \"sha256:{HEX}\" }}\nwheels = [{{ url = \"https://files.example/flask-2.0.0-py3-none-any.whl\", hash = \"sha256:{HEX}\" }}]\n\n[[package]]\nname = \"me\"\nversion = \"0.1.0\"\nsource = {{ editable = \".\" }}\n\n[[package]]\nname = \"g\"\nversion = \"1\"\nsource = {{ git = \"https://git.example/g\" }}\n\n[[package]]\nname = \"odd\"\nversion = \"1\"\nsource = {{ moon = \"x\" }}\n"
    );
    expect(
        UvLock,
        &text,
        &[
            "3 pkg:pypi/flask@2.0.0 flask-2.0.0.tar.gz=sha256 flask-2.0.0-py3-none-any.whl=sha256 from https://registry.example/simple",
            "10 Own me 0.1.0: it is a part of this project",
            "15 Elsewhere g 1: it is a git checkout",
            "20 Unreadable odd 1: its source is of an unknown kind",
        ],
    );
    refused(UvLock, "version = 2", "version 1 is known");
}

#[test]
fn poetry_2() {
    let text = format!(
        "[[package]]\nname = \"flask\"\nversion = \"2.0.0\"\ngroups = [\"main\", \"dev\"]\nfiles = [\n    {{file = \"flask-2.0.0.tar.gz\", hash = \"sha256:{HEX}\"}},\n]\n\n[[package]]\nname = \"pytest\"\nversion = \"8.0\"\ngroups = [\"dev\"]\nfiles = []\n\n[package.source]\ntype = \"legacy\"\nurl = \"https://me:pw@registry.example/simple\"\nreference = \"own\"\n\n[[package]]\nname = \"here\"\nversion = \"1\"\n\n[package.source]\ntype = \"directory\"\nurl = \"../here\"\n\n[metadata]\nlock-version = \"2.1\"\n"
    );
    expect(
        PoetryLock,
        &text,
        &[
            "1 pkg:pypi/flask@2.0.0 flask-2.0.0.tar.gz=sha256",
            "9 pkg:pypi/pytest@8.0 dev from https://registry.example/simple",
            "20 Elsewhere here 1: it lies on this machine",
        ],
    );
    refused(PoetryLock, "[metadata]\nlock-version = \"3.0\"\n", "versions 1 and 2 are known");
    refused(PoetryLock, "", "versions 1 and 2 are known");
}

#[test]
fn poetry_1() {
    let text = format!(
        "[[package]]\nname = \"flask\"\nversion = \"2.0.0\"\ncategory = \"main\"\n\n[[package]]\nname = \"pytest\"\nversion = \"6.0\"\ncategory = \"dev\"\n\n[metadata]\nlock-version = \"1.1\"\n\n[metadata.files]\nflask = [\n    {{file = \"flask-2.0.0.tar.gz\", hash = \"sha256:{HEX}\"}},\n]\n[metadata.hashes]\npytest = [\"{HEX}\"]\n"
    );
    expect(
        PoetryLock,
        &text,
        &["1 pkg:pypi/flask@2.0.0 flask-2.0.0.tar.gz=sha256", "6 pkg:pypi/pytest@6.0 =sha256 dev"],
    );
}

#[test]
fn pep_751() {
    let text = format!(
        "lock-version = \"1.0\"\ncreated-by = \"x\"\n\n[[packages]]\nname = \"flask\"\nversion = \"2.0.0\"\nindex = \"https://registry.example/simple\"\nsdist = {{ url = \"https://files.example/flask-2.0.0.tar.gz\", hashes = {{ sha256 = \"{HEX}\" }} }}\nwheels = [{{ name = \"flask-2.0.0-py3-none-any.whl\", hashes = {{ sha256 = \"{HEX}\", blake2b = \"00\" }} }}]\n\n[[packages]]\nname = \"v\"\nvcs = {{ type = \"git\", url = \"https://git.example/v\" }}\n\n[[packages]]\nname = \"open\"\n"
    );
    expect(
        PyLock,
        &text,
        &[
            "4 pkg:pypi/flask@2.0.0 flask-2.0.0.tar.gz=sha256 flask-2.0.0-py3-none-any.whl=sha256 from https://registry.example/simple",
            "11 Elsewhere v: it is a version control checkout",
            "15 Unpinned open: it names no exact version",
        ],
    );
    refused(PyLock, "lock-version = \"2.0\"", "version 1 is known");
    refused(PyLock, "packages = 1\nlock-version = \"1.0\"", "not a list");
}
