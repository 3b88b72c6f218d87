//! What a request asks for, from its method and its path alone.
//!
//! | path | what |
//! |---|---|
//! | `/pypi/simple/`, `/pypi/simple/<project>/` | index (PEP 503, PEP 691) |
//! | `/pypi/files/<project>/<file>`, with `.metadata`, `.provenance` | files (PEP 658, PEP 740) |
//! | `/npm/<name>`, `/npm/<name>/<version or tag>`, `/npm/<name>/-/<file>` | npm; a scope in both spellings |
//! | `/npm/-/…` | npm's API |
//! | `/cargo/config.json`, `/cargo/<index path>`, `/cargo/dl/<crate>/<version>/download` | cargo's sparse registry |
//! | `/debian/<upstream>/<path>` | one Debian repository |
//! | `/u/<upstream>/…` | one named upstream of pypi, npm or cargo |
//! | `/ledger/…` | the ledger, for the public and for auditors |
//! | `/`, `/healthz`, `/readyz`, `/metrics` | the gateway itself |
//!
//! The first segment alone chooses the ecosystem; nothing falls through to another.

use super::segments::{ENCODED_SLASH, segments};
use countersign_core::Ecosystem;
use countersign_engine::serving::{Route, View};
use http::Method;
use std::borrow::Cow;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A registry.
    Registry(Route),
    /// The same path with a slash at its end (PEP 503: index addresses end in one).
    Slash,
    /// What this server is.
    About,
    /// Whether the process runs.
    Healthz,
    /// Whether it should be sent requests.
    Readyz,
    /// What it counts.
    Metrics,
    /// The ledger: the parts of the path below `/ledger/`.
    Ledger(Vec<String>),
}

/// Why a request asks for nothing that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RouteError {
    /// Malformed: status 400.
    Bad(&'static str),
    /// Well formed and not here: status 404.
    NotFound(&'static str),
    /// Another method is needed: status 405 with these in `Allow`.
    Method(&'static str),
}

/// Longest npm name in bytes, with its scope (npm's own rule).
const MAX_NPM_NAME: usize = 214;
/// Longest name of a Python project or a crate that is looked for, in bytes.
const MAX_NAME: usize = 128;
/// Longest version or tag, in bytes.
const MAX_VERSION: usize = 128;

const READ: &str = "GET, HEAD";
const READ_AND_ASK: &str = "GET, HEAD, POST";

/// Finds what a request asks for. `kind_of` says which ecosystem the upstream of a name has.
///
/// # Errors
/// When the path is malformed, names nothing, or the method does not fit.
pub(super) fn route(
    method: &Method,
    path: &str,
    kind_of: &dyn Fn(&str) -> Option<Ecosystem>,
) -> Result<Target, RouteError> {
    let segments = segments(path)?;
    let slash = segments.slash;
    let list: Vec<&str> = segments.list.iter().map(Cow::as_ref).collect();
    let target = match list.as_slice() {
        [] => Target::About,
        ["healthz"] if !slash => Target::Healthz,
        ["readyz"] if !slash => Target::Readyz,
        ["metrics"] if !slash => Target::Metrics,
        ["ledger", rest @ ..] if !slash => {
            Target::Ledger(plain(rest)?.iter().map(|part| (*part).to_owned()).collect())
        }
        ["pypi", rest @ ..] => pypi(View::All, plain(rest)?, slash)?,
        ["npm", rest @ ..] => npm(View::All, rest, slash)?,
        ["cargo", rest @ ..] => cargo(View::All, plain(rest)?, slash)?,
        ["debian", name, rest @ ..] if kind_of(name) == Some(Ecosystem::Debian) => {
            Target::Registry(debian(name, rest, slash)?)
        }
        ["debian", ..] => {
            return not_found(
                "no Debian upstream has that name; the form is /debian/<name>/<path>",
            );
        }
        ["u", name, rest @ ..] => named(name, rest, slash, kind_of(name))?,
        _ => return not_found("nothing is served at that path"),
    };
    check_method(method, &target)?;
    Ok(target)
}

fn not_found<T>(why: &'static str) -> Result<T, RouteError> {
    Err(RouteError::NotFound(why))
}

fn bad<T>(why: &'static str) -> Result<T, RouteError> {
    Err(RouteError::Bad(why))
}

fn check_method(method: &Method, target: &Target) -> Result<(), RouteError> {
    let asks = matches!(target, Target::Registry(Route::NpmApi { .. }));
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        Method::POST if asks => Ok(()),
        _ if asks => Err(RouteError::Method(READ_AND_ASK)),
        _ => Err(RouteError::Method(READ)),
    }
}

/// The segments, if none of them holds npm's encoded slash.
fn plain<'s>(rest: &'s [&'s str]) -> Result<&'s [&'s str], RouteError> {
    if rest.iter().any(|s| s.contains('/')) { bad(ENCODED_SLASH) } else { Ok(rest) }
}

fn named(
    name: &str,
    rest: &[&str],
    slash: bool,
    kind: Option<Ecosystem>,
) -> Result<Target, RouteError> {
    let view = View::Named(name.to_owned());
    match kind {
        Some(Ecosystem::Pypi) => pypi(view, plain(rest)?, slash),
        Some(Ecosystem::Npm) => npm(view, rest, slash),
        Some(Ecosystem::Cargo) => cargo(view, plain(rest)?, slash),
        Some(Ecosystem::Debian) => {
            not_found("that upstream is a Debian repository; it is at /debian/<name>/")
        }
        Some(Ecosystem::Go | Ecosystem::Maven) | None => not_found("no upstream has that name"),
    }
}

fn pypi(view: View, rest: &[&str], slash: bool) -> Result<Target, RouteError> {
    let route = match rest {
        ["simple"] | ["simple", _] if !slash => return Ok(Target::Slash),
        ["simple"] => Route::PypiRoot { view },
        ["simple", project] => Route::PypiProject { view, project: python_name(project)? },
        ["files", project, file] if !slash => pypi_file(view, python_name(project)?, file),
        _ => {
            return not_found(
                "a Python index has simple/, simple/<project>/ and files/<project>/<file>",
            );
        }
    };
    Ok(Target::Registry(route))
}

fn pypi_file(view: View, project: String, file: &str) -> Route {
    if let Some(of) = file.strip_suffix(".metadata") {
        return Route::PypiMetadata { view, project, file_name: of.to_owned() };
    }
    if let Some(of) = file.strip_suffix(".provenance") {
        return Route::PypiProvenance { view, project, file_name: of.to_owned() };
    }
    Route::PypiFile { view, project, file_name: file.to_owned() }
}

/// A name of the characters that Python's packaging allows (PEP 508); normalizing is the engine's.
fn python_name(name: &str) -> Result<String, RouteError> {
    checked(name, MAX_NAME, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

fn checked(name: &str, max: usize, allowed: impl Fn(u8) -> bool) -> Result<String, RouteError> {
    if name.len() > max {
        return bad("that name is longer than names may be");
    }
    if name.is_empty() || !name.bytes().all(allowed) {
        return bad("that name holds characters that names may not have");
    }
    Ok(name.to_owned())
}

fn npm(view: View, rest: &[&str], slash: bool) -> Result<Target, RouteError> {
    if slash && !rest.is_empty() {
        return not_found("npm's addresses do not end in a slash");
    }
    if let ["-", api @ ..] = rest {
        return Ok(Target::Registry(Route::NpmApi { view, api: npm_api(api)?, query: None }));
    }
    let (name, rest) = npm_name(rest)?;
    let route = match rest {
        [] => Route::NpmPackage { view, name, version: None },
        ["-", file] => {
            plain(&[file])?;
            Route::NpmTarball { view, name, file_name: (*file).to_owned() }
        }
        [version] => Route::NpmPackage { view, name, version: Some(npm_version(version)?) },
        _ => {
            return not_found(
                "npm's registry has <name>, <name>/<version or tag> and <name>/-/<file>",
            );
        }
    };
    Ok(Target::Registry(route))
}

/// Takes a name off the front: one segment, or two for a scope that is not encoded.
fn npm_name<'s>(rest: &'s [&'s str]) -> Result<(String, &'s [&'s str]), RouteError> {
    let (name, rest) = match rest {
        [] => return not_found("npm's registry is asked for a package: /npm/<name>"),
        [scope, name, rest @ ..] if scope.starts_with('@') && !scope.contains('/') => {
            // What is encoded a second time inside a scope would be another scope.
            (Cow::Owned(format!("{scope}/{name}")), rest)
        }
        [name, rest @ ..] => (Cow::Borrowed(*name), rest),
    };
    let (scope, plain) = match name.split_once('/') {
        Some((scope, plain)) => (scope.strip_prefix('@'), plain),
        None => (None, name.as_ref()),
    };
    if name.len() > MAX_NPM_NAME {
        return bad("that npm name is longer than names may be");
    }
    // The legacy rule: whatever needs no encoding in an address; a dot or dash is no beginning.
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with(['.', '-'])
            && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~!*'()".contains(&b))
    };
    if !part(plain) || scope.is_some_and(|s| !part(s)) {
        return bad("that npm name holds characters that names may not have");
    }
    Ok((name.into_owned(), rest))
}

fn npm_version(version: &str) -> Result<String, RouteError> {
    checked(version, MAX_VERSION, |b| b.is_ascii_graphic() && !b"/@<>\"'`{}|^".contains(&b))
}

/// Longest query of a search, in bytes.
const MAX_QUERY: usize = 1024;

/// Puts the query into a route that has one: npm's search. Every other route is its path alone.
///
/// # Errors
/// When the query is too long, or is no text of a query (RFC 3986, section 3.4).
pub(super) fn with_query(route: Route, query: Option<&str>) -> Result<Route, RouteError> {
    match (route, query) {
        (Route::NpmApi { view, api, .. }, Some(query)) if api == "v1/search" => {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&b);
            if query.len() > MAX_QUERY || !query.bytes().all(fits) {
                return bad("that is no query of a search");
            }
            Ok(Route::NpmApi { view, api, query: Some(query.to_owned()) })
        }
        (route, _) => Ok(route),
    }
}

fn npm_api(api: &[&str]) -> Result<String, RouteError> {
    let fits =
        |s: &&str| s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~!*'()@/+:".contains(&b));
    match api {
        [] => not_found("npm's API is asked for something: /npm/-/<question>"),
        [first, ..] if first.contains([':', '@']) || !api.iter().all(fits) => {
            bad("that is no question of npm's API")
        }
        _ => Ok(api.join("/")),
    }
}

fn cargo(view: View, rest: &[&str], slash: bool) -> Result<Target, RouteError> {
    let route = match rest {
        _ if slash => return not_found("addresses of cargo's registry do not end in a slash"),
        ["config.json"] => Route::CargoConfig { view },
        ["dl", name, version, "download"] => Route::CargoDownload {
            view,
            name: crate_name(name)?,
            version: checked(version, MAX_VERSION, |b| {
                b.is_ascii_alphanumeric() || b".+-".contains(&b)
            })?,
        },
        _ if is_index_path(rest) => Route::CargoIndex { view, path: rest.join("/") },
        _ => {
            return not_found(
                "cargo's registry has config.json, index files and dl/<crate>/<version>/download",
            );
        }
    };
    Ok(Target::Registry(route))
}

fn crate_name(name: &str) -> Result<String, RouteError> {
    checked(name, MAX_NAME, |b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Whether these are the segments of an index file (cargo's book, "Index files"). A crate `dlib` is
/// at `dl/ib/dlib`, which is no download: that has four segments.
fn is_index_path(path: &[&str]) -> bool {
    let Some(name) = path.last().filter(|n| crate_name(n).is_ok()) else { return false };
    let start = |from: usize, to: usize| name.get(from..to).unwrap_or_default();
    // cargo writes the folders in lower case, and may keep the name as it is written.
    let same = |folder: &str, want: &str| folder.eq_ignore_ascii_case(want);
    match (path, name.len()) {
        (["1", _], 1) | (["2", _], 2) => true,
        (["3", first, _], 3) => same(first, start(0, 1)),
        ([first, second, _], 4..) => same(first, start(0, 2)) && same(second, start(2, 4)),
        _ => false,
    }
}

/// What lies below a Debian repository's root. Also for what apt asks a proxy for.
///
/// # Errors
/// When the path is empty or could be taken for an address of its own.
pub(super) fn debian(upstream: &str, rest: &[&str], slash: bool) -> Result<Route, RouteError> {
    match rest {
        [] => not_found("a file of the Debian repository is asked for: /debian/<name>/<path>"),
        _ if slash => not_found("folders of a Debian repository are not listed"),
        _ if plain(rest).is_err() => bad(ENCODED_SLASH),
        [first, ..] if first.contains([':', '@']) => {
            bad("a path in a Debian repository does not begin with an address")
        }
        _ => Ok(Route::Debian { upstream: upstream.to_owned(), path: rest.join("/") }),
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
