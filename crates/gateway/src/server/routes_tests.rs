//! Every form of path, and what it is taken for.

use super::*;

fn kinds(name: &str) -> Option<Ecosystem> {
    match name {
        "own-py" => Some(Ecosystem::Pypi),
        "own.npm" => Some(Ecosystem::Npm),
        "own-cargo" => Some(Ecosystem::Cargo),
        "bookworm" => Some(Ecosystem::Debian),
        _ => None,
    }
}

fn get(path: &str) -> Result<Target, RouteError> {
    route(&Method::GET, path, &kinds)
}

fn registry(path: &str) -> Route {
    match get(path) {
        Ok(Target::Registry(route)) => route,
        other => panic!("{path}: {other:?}"),
    }
}

fn named(name: &str) -> View {
    View::Named(name.into())
}

#[test]
fn the_gateway_itself() {
    for (path, want) in [
        ("/", Target::About),
        ("/healthz", Target::Healthz),
        ("/readyz", Target::Readyz),
        ("/metrics", Target::Metrics),
        ("/pypi/simple", Target::Slash),
        ("/pypi/simple/flask", Target::Slash),
        ("/u/own-py/simple", Target::Slash),
        ("/u/own-py/simple/flask", Target::Slash),
    ] {
        assert_eq!(get(path), Ok(want), "{path}");
    }
}

#[test]
fn python() {
    for (prefix, view) in [("/pypi", View::All), ("/u/own-py", named("own-py"))] {
        let at = |rest: &str| registry(&format!("{prefix}{rest}"));
        let (project, view) = ("Flask_Login".to_owned(), || view.clone());
        assert_eq!(at("/simple/"), Route::PypiRoot { view: view() });
        assert_eq!(
            at("/simple/Flask_Login/"),
            Route::PypiProject { view: view(), project: project.clone() }
        );
        let wheel = || "Flask_Login-1+cpu-py3-none-any.whl".to_owned();
        let files = "/files/Flask_Login/Flask_Login-1%2Bcpu-py3-none-any.whl";
        assert_eq!(
            at(files),
            Route::PypiFile { view: view(), project: project.clone(), file_name: wheel() }
        );
        assert_eq!(
            at(&format!("{files}.metadata")),
            Route::PypiMetadata { view: view(), project: project.clone(), file_name: wheel() }
        );
        assert_eq!(
            at(&format!("{files}.provenance")),
            Route::PypiProvenance { view: view(), project: project.clone(), file_name: wheel() }
        );
    }
}

#[test]
fn npm_in_every_spelling() {
    for (prefix, view) in [("/npm", View::All), ("/u/own.npm", named("own.npm"))] {
        let view = || view.clone();
        let package = |name: &str, version: Option<&str>| Route::NpmPackage {
            view: view(),
            name: name.into(),
            version: version.map(Into::into),
        };
        let tarball = |name: &str, file: &str| Route::NpmTarball {
            view: view(),
            name: name.into(),
            file_name: file.into(),
        };
        let api = |api: &str| Route::NpmApi { view: view(), api: api.into(), query: None };
        for (path, want) in [
            ("/lodash", package("lodash", None)),
            ("/lodash/latest", package("lodash", Some("latest"))),
            ("/lodash/1.0.0-rc.1%2Bb", package("lodash", Some("1.0.0-rc.1+b"))),
            ("/JSONStream", package("JSONStream", None)),
            ("/@s/n", package("@s/n", None)),
            ("/@s%2fn", package("@s/n", None)),
            ("/%40s%2Fn", package("@s/n", None)),
            ("/@s/n/1.0.0", package("@s/n", Some("1.0.0"))),
            ("/@s%2Fn/1.0.0", package("@s/n", Some("1.0.0"))),
            ("/lodash/-/lodash-4.17.21.tgz", tarball("lodash", "lodash-4.17.21.tgz")),
            ("/@s/n/-/n-1.0.0.tgz", tarball("@s/n", "n-1.0.0.tgz")),
            ("/@s%2fn/-/n-1.0.0.tgz", tarball("@s/n", "n-1.0.0.tgz")),
            ("/-/ping", api("ping")),
            ("/-/whoami", api("whoami")),
            ("/-/package/lodash/dist-tags", api("package/lodash/dist-tags")),
            ("/-/package/@s%2fn/dist-tags", api("package/@s/n/dist-tags")),
            ("/-/npm/v1/security/advisories/bulk", api("npm/v1/security/advisories/bulk")),
            ("/-/npm/v1/attestations/@s%2fn@1.0.0", api("npm/v1/attestations/@s/n@1.0.0")),
        ] {
            assert_eq!(registry(&format!("{prefix}{path}")), want, "{prefix}{path}");
        }
    }
}

#[test]
fn crates() {
    for (prefix, view) in [("/cargo", View::All), ("/u/own-cargo", named("own-cargo"))] {
        let at = |rest: &str| registry(&format!("{prefix}{rest}"));
        let view = || view.clone();
        assert_eq!(at("/config.json"), Route::CargoConfig { view: view() });
        for path in ["1/a", "2/dl", "3/s/syn", "se/rd/serde", "dl/ib/dlib", "SE/rd/Serde"] {
            assert_eq!(
                at(&format!("/{path}")),
                Route::CargoIndex { view: view(), path: path.into() }
            );
        }
        assert_eq!(
            at("/dl/serde/1.0.0+b/download"),
            Route::CargoDownload { view: view(), name: "serde".into(), version: "1.0.0+b".into() }
        );
    }
}

#[test]
fn debian_repositories() {
    for (path, want) in [
        ("dists/stable/InRelease", "dists/stable/InRelease"),
        ("pool/main/f/foo/foo_1%2b2~3_amd64.deb", "pool/main/f/foo/foo_1+2~3_amd64.deb"),
        ("pool/foo_1:2_all.deb", "pool/foo_1:2_all.deb"),
    ] {
        assert_eq!(
            registry(&format!("/debian/bookworm/{path}")),
            Route::Debian { upstream: "bookworm".into(), path: want.into() }
        );
    }
}

#[test]
fn what_is_not_here() {
    for path in [
        "/simple/flask/",
        "/flask",
        "/healthz/",
        "/metrics/x",
        "/pypi/",
        "/pypi",
        "/pypi/flask",
        "/pypi/simple/flask/x/",
        "/pypi/files/flask",
        "/pypi/files/flask/",
        "/pypi/files/flask/a.whl/",
        "/npm/",
        "/npm",
        "/npm/lodash/",
        "/npm/lodash/1/2",
        "/npm/lodash/-/a.tgz/b",
        "/npm/-",
        "/npm/@s/n/-/a/b",
        "/cargo",
        "/cargo/",
        "/cargo/config.json/",
        "/cargo/serde",
        "/cargo/se/rd/syn",
        "/cargo/3/x/syn",
        "/cargo/1/ab",
        "/cargo/se/rd/serde/x",
        "/cargo/dl/serde/1.0.0",
        "/cargo/api/v1/crates",
        "/debian",
        "/debian/",
        "/debian/bookworm",
        "/debian/bookworm/",
        "/debian/bookworm/dists/",
        "/debian/own-py/dists/stable/InRelease",
        "/debian/unknown/x",
        "/u",
        "/u/unknown/simple/",
        "/u/bookworm/dists/stable/InRelease",
        "/u/own-py",
        "/u/own-py/lodash",
        "/u/own-cargo/simple/flask/",
        "/u/own.npm/-",
    ] {
        assert!(matches!(get(path), Err(RouteError::NotFound(_))), "{path}: {:?}", get(path));
    }
}

#[test]
fn names_that_no_ecosystem_has() {
    let long = "a".repeat(230);
    for path in [
        "/pypi/simple/a%20b/".to_owned(),
        "/pypi/simple/a@b/".into(),
        "/pypi/simple/a%3Cb%3E/".into(),
        format!("/pypi/simple/{long}/"),
        format!("/npm/{long}"),
        "/npm/.hidden".into(),
        "/npm/-x".into(),
        "/npm/a%22b".into(),
        "/npm/@s".into(),
        "/npm/@/n".into(),
        "/npm/@s/.n".into(),
        "/npm/@s%2fn%2fx".into(),
        "/npm/a@b".into(),
        "/npm/@s%2fn/@t%2fm".into(),
        "/npm/lodash/@t%2fm".into(),
        "/npm/-/http:x/y".into(),
        "/npm/-/a%20b".into(),
        "/cargo/dl/a.b/1.0.0/download".into(),
        "/cargo/dl/serde/1%201/download".into(),
        "/debian/bookworm/http:/elsewhere.example/x".into(),
        "/debian/bookworm/..%2f..%2fx".into(),
        "/debian/bookworm/%2e%2e/x".into(),
        "/debian/bookworm/dists//InRelease".into(),
        "/pypi/files/flask/..%2fx.whl".into(),
        "/u/own-py%2fsimple/flask/".into(),
        "/pypi/files/flask/@a%2fb.whl".into(),
        "/pypi/files/@a%2fb/c.whl".into(),
        "/cargo/@a%2fb/x".into(),
        "/debian/bookworm/x/@a%2fb".into(),
        "/npm/lodash/-/@a%2fb.tgz".into(),
    ] {
        assert!(matches!(get(&path), Err(RouteError::Bad(_))), "{path}: {:?}", get(&path));
    }
}

#[test]
fn methods() {
    for path in ["/", "/metrics", "/pypi/simple/flask/", "/npm/lodash", "/cargo/config.json"] {
        assert!(route(&Method::HEAD, path, &kinds).is_ok(), "{path}");
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
            assert_eq!(route(&method, path, &kinds), Err(RouteError::Method(READ)), "{path}");
        }
    }
    let bulk = "/npm/-/npm/v1/security/advisories/bulk";
    assert!(route(&Method::POST, bulk, &kinds).is_ok());
    assert_eq!(route(&Method::PUT, bulk, &kinds), Err(RouteError::Method(READ_AND_ASK)));
}

#[test]
fn a_search_keeps_its_query_and_nothing_else_has_one() {
    let api = |api: &str| Route::NpmApi { view: View::All, api: api.into(), query: None };
    let found = with_query(api("v1/search"), Some("text=left%20pad&size=20")).unwrap();
    let Route::NpmApi { query, .. } = &found else { panic!("{found:?}") };
    assert_eq!(query.as_deref(), Some("text=left%20pad&size=20"));
    assert_eq!(with_query(api("v1/search"), None), Ok(api("v1/search")));
    assert_eq!(with_query(api("ping"), Some("text=x")), Ok(api("ping")));
    for bad in ["text=a b", "text=<x>", "text=\u{e9}", "a#b", &"x".repeat(2000)] {
        assert!(
            matches!(with_query(api("v1/search"), Some(bad)), Err(RouteError::Bad(_))),
            "{bad}"
        );
    }
}
