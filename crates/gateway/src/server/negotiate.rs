//! Which form and which coding a client wants (RFC 9110, section 12).

use countersign_engine::serving::{Form, Route};
use http::{HeaderMap, HeaderName, header};

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    /// None.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// Brotli (RFC 7932).
    Brotli,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Coding {
    /// Its name in headers.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// The compressed forms, the one that unpacks fastest first: it wins where the client has no
/// preference.
const PACKED: [Coding; 3] = [Coding::Zstd, Coding::Brotli, Coding::Gzip];

/// The members of a list header with their weights in thousandths (RFC 9110, section 12.4.2). A
/// weight that is none makes its member void.
fn weighted<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'h str, u16)> {
    let lines = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|member| {
        let mut parts = member.split(';');
        let value = parts.next().unwrap_or("").trim();
        let mut weight = 1000;
        for parameter in parts {
            let Some((key, q)) = parameter.split_once('=') else { continue };
            if key.trim().eq_ignore_ascii_case("q") {
                weight = thousandths(q.trim())?;
            }
        }
        (!value.is_empty()).then_some((value, weight))
    })
}

fn thousandths(q: &str) -> Option<u16> {
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(padded),
        "1" if padded == 0 => Some(1000),
        _ => None,
    }
}

/// The coding to answer in. `near` is for clients on this machine: for them packing costs more than
/// it saves, and they get the bytes as they are unless they forbid it. `None`: nothing that the
/// client accepts can be had.
pub(super) fn coding(headers: &HeaderMap, near: bool) -> Option<Coding> {
    if !headers.contains_key(header::ACCEPT_ENCODING) {
        return Some(Coding::Identity);
    }
    let mut said = [None::<u16>; 4];
    let mut others = None;
    for (name, weight) in weighted(headers, &header::ACCEPT_ENCODING) {
        let name = name.to_ascii_lowercase();
        let slot = match name.as_str() {
            "identity" => &mut said[0],
            "gzip" | "x-gzip" => &mut said[1],
            "br" => &mut said[2],
            "zstd" => &mut said[3],
            "*" => &mut others,
            _ => continue,
        };
        *slot = Some(weight);
    }
    let weight = |coding: Coding| match coding {
        // What is not named is acceptable, and less than anything that is.
        Coding::Identity => said[0].unwrap_or(if others == Some(0) { 0 } else { 1 }),
        Coding::Gzip => said[1].or(others).unwrap_or(0),
        Coding::Brotli => said[2].or(others).unwrap_or(0),
        Coding::Zstd => said[3].or(others).unwrap_or(0),
    };
    let plain = weight(Coding::Identity);
    if near && plain > 0 {
        return Some(Coding::Identity);
    }
    let best = PACKED.into_iter().rev().max_by_key(|c| weight(*c)).filter(|c| weight(*c) > 0);
    match best {
        Some(best) if weight(best) >= plain => Some(best),
        _ if plain > 0 => Some(Coding::Identity),
        other => other,
    }
}

const PYPI_JSON: [&str; 2] =
    ["application/vnd.pypi.simple.v1+json", "application/vnd.pypi.simple.latest+json"];
const PYPI_HTML: [&str; 3] =
    ["application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html", "text/html"];
const NPM_SHORT: &str = "application/vnd.npm.install-v1+json";
const NPM_FULL: &str = "application/json";

/// The form of a document that a client wants. For what has one form, that one: what a client says
/// of it makes no difference.
pub(super) fn form(route: &Route, headers: &HeaderMap) -> Form {
    match route {
        Route::PypiRoot { .. } | Route::PypiProject { .. } => {
            let (json, html) = preference(headers, &PYPI_JSON, &PYPI_HTML);
            if json > html { Form::PypiJson } else { Form::Plain }
        }
        Route::NpmPackage { version: None, .. } => {
            let (short, full) = preference(headers, &[NPM_SHORT], &[NPM_FULL]);
            if short > 0 && short >= full { Form::NpmAbbreviated } else { Form::Plain }
        }
        _ => Form::Plain,
    }
}

/// The greatest weight that is given to one of each set by name. Ranges (`*/*`) ask for neither.
fn preference(headers: &HeaderMap, one: &[&str], other: &[&str]) -> (u16, u16) {
    let mut out = (0, 0);
    for (value, weight) in weighted(headers, &header::ACCEPT) {
        let is_in = |set: &[&str]| set.iter().any(|m| m.eq_ignore_ascii_case(value));
        if is_in(one) {
            out.0 = out.0.max(weight);
        } else if is_in(other) {
            out.1 = out.1.max(weight);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_engine::serving::View;
    use http::HeaderValue;

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut out = HeaderMap::new();
        for v in values {
            out.append(name.clone(), HeaderValue::from_str(v).unwrap());
        }
        out
    }

    #[test]
    fn codings_by_weight() {
        use Coding::{Brotli, Gzip, Identity, Zstd};
        for (sent, far, near) in [
            (vec![], Some(Identity), Some(Identity)),
            (vec![""], Some(Identity), Some(Identity)),
            (vec!["gzip, deflate, br, zstd"], Some(Zstd), Some(Identity)),
            (vec!["gzip, deflate, br"], Some(Brotli), Some(Identity)),
            (vec!["gzip", "br;q=0.5"], Some(Gzip), Some(Identity)),
            (vec!["GZIP;Q=0.8"], Some(Gzip), Some(Identity)),
            (vec!["x-gzip"], Some(Gzip), Some(Identity)),
            (vec!["gzip;q=0"], Some(Identity), Some(Identity)),
            (vec!["*"], Some(Zstd), Some(Identity)),
            (vec!["*;q=0"], None, None),
            (vec!["identity;q=0"], None, None),
            (vec!["identity;q=0, gzip;q=0.001"], Some(Gzip), Some(Gzip)),
            (vec!["identity;q=0, *"], Some(Zstd), Some(Zstd)),
            (vec!["*;q=0, br"], Some(Brotli), Some(Brotli)),
            (vec!["identity, gzip;q=0.5"], Some(Identity), Some(Identity)),
            (vec!["identity;q=0.2, gzip;q=0.5"], Some(Gzip), Some(Identity)),
            (vec!["deflate"], Some(Identity), Some(Identity)),
            (vec!["gzip;q=nonsense, br;q=0.1"], Some(Brotli), Some(Identity)),
            (vec!["gzip;q=1.5"], Some(Identity), Some(Identity)),
            (vec!["gzip;q=0.0001"], Some(Identity), Some(Identity)),
        ] {
            let h = headers(header::ACCEPT_ENCODING, &sent);
            assert_eq!(coding(&h, false), far, "{sent:?}");
            assert_eq!(coding(&h, true), near, "{sent:?} on this machine");
        }
    }

    #[test]
    fn forms_by_weight() {
        let project = Route::PypiProject { view: View::All, project: "x".into() };
        let pip = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";
        for (sent, want) in [
            (pip, Form::PypiJson),
            ("application/vnd.pypi.simple.latest+json", Form::PypiJson),
            ("text/html, application/vnd.pypi.simple.v1+json;q=0.1", Form::Plain),
            ("text/html", Form::Plain),
            ("*/*", Form::Plain),
            ("", Form::Plain),
            ("application/vnd.pypi.simple.v1+json;q=0", Form::Plain),
            ("application/json", Form::Plain),
        ] {
            assert_eq!(form(&project, &headers(header::ACCEPT, &[sent])), want, "{sent}");
        }
        let package = Route::NpmPackage { view: View::All, name: "x".into(), version: None };
        let npm = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*";
        for (sent, want) in [
            (npm, Form::NpmAbbreviated),
            ("application/json", Form::Plain),
            ("application/json, application/vnd.npm.install-v1+json;q=0.1", Form::Plain),
            ("*/*", Form::Plain),
        ] {
            assert_eq!(form(&package, &headers(header::ACCEPT, &[sent])), want, "{sent}");
        }
        let file = Route::PypiFile {
            view: View::All,
            project: "x".into(),
            file_name: "x-1.tar.gz".into(),
        };
        assert_eq!(form(&file, &headers(header::ACCEPT, &[pip])), Form::Plain);
    }
}
