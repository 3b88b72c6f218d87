//! Single figures of the gate: a decision, a start, an audit.

use super::gate::Gate;
use super::process::Job;
use super::results::Figure;
use super::scratch::Scratch;
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// How often each is done.
const TURNS: usize = 11;
/// How many packages the lock file of the audit has.
const PACKAGES: usize = 1000;
/// How an audit may end: nothing found, refused, held, not all could be checked.
const AUDITED: [i32; 4] = [0, 90, 91, 95];
/// How many decisions the gate starts with.
const DECISIONS: u32 = 100_000;

/// How long the audit of a lock file of 1,000 packages takes, with all feeds: the packages of the
/// set and others with made-up names.
///
/// # Errors
///
/// When the program does not audit it.
pub(super) fn audit(gate: &Gate, lock: Option<&Path>, states: &Scratch) -> Result<Figure, String> {
    let folder = states.fresh("audit");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let file = folder.join("package-lock.json");
    let given = lock.map(fs::read_to_string).transpose().map_err(|e| e.to_string())?;
    fs::write(&file, lock_of(given.as_deref(), PACKAGES)).map_err(|e| e.to_string())?;
    let state = gate.fresh_state(states)?;
    let mut job = gate.command(&state, &["audit"]);
    job.words.push(file.into());
    job.folder = folder;
    let mut values = Vec::new();
    for turn in 0..=TURNS {
        let start = Instant::now();
        job.ends_with(&AUDITED)?;
        // The first is what makes it warm.
        if turn > 0 {
            values.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    Ok(Figure {
        name: "audit".to_owned(),
        what: "audit of a lock file of 1,000 packages, all feeds".to_owned(),
        unit: "ms".to_owned(),
        values,
    })
}

/// A `package-lock.json` of that many packages, with those of `given` first.
fn lock_of(given: Option<&str>, packages: usize) -> String {
    let given: Value = given.and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
    let mut all = Map::new();
    all.insert(String::new(), json!({ "name": "many", "version": "1.0.0" }));
    let known = given["packages"].as_object().into_iter().flatten();
    for (key, value) in known.filter(|(key, _)| !key.is_empty()).take(packages) {
        all.insert(key.clone(), value.clone());
    }
    for n in 0.. {
        if all.len() > packages {
            break;
        }
        let integrity = format!("sha512-{}", super::base64(&[(n % 251) as u8; 64]));
        let package = json!({ "version": format!("1.{}.{n}", n % 7), "integrity": integrity });
        all.insert(format!("node_modules/countersign-bench-{n}"), package);
    }
    json!({ "name": "many", "version": "1.0.0", "lockfileVersion": 3, "packages": all }).to_string()
}

/// The 99th percentile of a decision for a known digest, in process: an example of the engine
/// measures it, since only code inside the process can.
///
/// # Errors
///
/// When the example is not built, or does not say.
pub(super) fn decision(example: &Path, feeds: &Path, states: &Scratch) -> Result<Figure, String> {
    let once = || {
        let folder = states.fresh("decide");
        fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
        let mut job = Job::new([example, Path::new("measure"), &folder], &folder);
        if feeds.exists() {
            job.words.push(feeds.into());
        }
        percentile(&job.output()?)
    };
    let values: Result<Vec<f64>, String> = (0..3).map(|_| once()).collect();
    Ok(Figure {
        name: "decision".to_owned(),
        what: "decision for a known digest, p99".to_owned(),
        unit: "ms".to_owned(),
        values: values?,
    })
}

/// How long the gate takes from its start until it is ready, with many decisions and all feeds.
///
/// # Errors
///
/// When the example is not built, or the gate does not start.
pub(super) fn ready(
    gate: &Gate,
    example: &Path,
    feeds: &Path,
    states: &Scratch,
) -> Result<Figure, String> {
    let state = states.fresh("gate-full");
    let mut make = Job::new([example, Path::new("make"), &state], Path::new("/"));
    make.words.push(DECISIONS.to_string().into());
    make.output()?;
    if feeds.exists() {
        gate.command(&state, &["feed", "add", &feeds.display().to_string()]).output()?;
    }
    let mut values = Vec::new();
    for turn in 0..=TURNS {
        let start = Instant::now();
        let started = gate.serve(&state, states)?;
        if turn > 0 {
            values.push(start.elapsed().as_secs_f64() * 1000.0);
        }
        drop(started);
    }
    Ok(Figure {
        name: "ready".to_owned(),
        what: "start to ready, 100,000 decisions and all feeds".to_owned(),
        unit: "ms".to_owned(),
        values,
    })
}

/// Reads `{"p50_ms": …, "p99_ms": …}` from the last line.
fn percentile(said: &str) -> Result<f64, String> {
    let line = said.lines().last().unwrap_or_default();
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    value["p99_ms"].as_f64().ok_or_else(|| format!("the example does not say its p99: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_has_as_many_packages_as_asked_for() {
        let given = r#"{"packages": {"": {"name": "x"}, "node_modules/a": {"version": "2.0.0"}}}"#;
        let lock: Value = serde_json::from_str(&lock_of(Some(given), 10)).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert_eq!(packages.len(), 11);
        assert_eq!(packages["node_modules/a"]["version"], "2.0.0");
        let few: Value = serde_json::from_str(&lock_of(None, 3)).unwrap();
        assert_eq!(few["packages"].as_object().unwrap().len(), 4);
    }

    #[test]
    fn the_percentile_is_read() {
        assert_eq!(percentile("…\n{\"p50_ms\": 0.1, \"p99_ms\": 0.25}\n"), Ok(0.25));
        assert!(percentile("nothing").is_err());
    }
}
