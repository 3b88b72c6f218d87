//! Runs in the jail, for tests.

use countersign_sandbox::{
    Canaries, Deed, Event, Limits, Program, Recorded, SandboxError, Spec, Step, run,
};
use std::path::PathBuf;

/// The stages' program, as each user that it can be tested as: this one, and for root also a user
/// without any power.
pub(crate) fn programs() -> Vec<Program> {
    let path = PathBuf::from(env!("CARGO_BIN_EXE_countersign-jail"));
    let mut out = vec![Program { path: path.clone(), arguments: Vec::new() }];
    if rustix::process::geteuid().is_root() {
        let arguments = ["--reuid=65534", "--regid=65534", "--clear-groups"].map(Into::into);
        let arguments = arguments.into_iter().chain([path.into()]).collect();
        out.push(Program { path: "/usr/bin/setpriv".into(), arguments });
    }
    out
}

/// Runs one shell script under these limits, as each user. Empty where the kernel gives no jail.
pub(crate) fn limited(script: &str, limits: Limits) -> Vec<Vec<Recorded>> {
    let step = Step {
        name: "script".to_owned(),
        command: ["/bin/bash", "-c", script].map(str::to_owned).to_vec(),
        folder: "/box".to_owned(),
        environment: Vec::new(),
        may_fail: false,
    };
    let canaries = Canaries::new(b"a test");
    let spec = Spec { steps: vec![step], binds: vec![], placed: vec![], limits, canaries };
    let ran = programs().into_iter().filter_map(|program| match run(&program, &spec) {
        Ok(record) => Some(record),
        Err(SandboxError::Unavailable(because)) => {
            eprintln!("skipped: no jail can be made here: {because}");
            None
        }
        Err(e) => panic!("{e}"),
    });
    ran.collect()
}

/// The same under the usual limits.
pub(crate) fn shell(script: &str) -> Vec<Vec<Recorded>> {
    limited(script, Limits::default())
}

/// What the step wrote.
pub(crate) fn output(record: &[Recorded]) -> String {
    let ended = record.iter().find_map(|r| match &r.event {
        Event::Ended { output, .. } => Some(output.clone()),
        _ => None,
    });
    ended.unwrap_or_else(|| panic!("the step did not end: {record:#?}"))
}

/// All deeds with their actors.
pub(crate) fn deeds(record: &[Recorded]) -> Vec<(String, Deed)> {
    let did = record.iter().filter_map(|r| match &r.event {
        Event::Did { actor, deed, .. } => Some((actor.clone(), deed.clone())),
        _ => None,
    });
    did.collect()
}

/// Whether a call was refused, and written down.
pub(crate) fn refused(record: &[Recorded], name: &str) -> bool {
    deeds(record).iter().any(|(_, d)| matches!(d, Deed::Refused { call } if call == name))
}
