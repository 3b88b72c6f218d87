//! What a soak found, as a table.

use super::clients::Seen;
use super::upstream::Fault;
use super::watch::{BOUNDS, Sample};
use std::collections::BTreeMap;

/// Rows of the table over time.
const ROWS: usize = 12;

/// What a soak found.
pub(super) struct Report {
    /// What the gateway took, over time.
    pub(super) samples: Vec<Sample>,
    /// What the clients saw.
    pub(super) seen: Seen,
    /// How often the upstream failed in which way.
    pub(super) faults: BTreeMap<Fault, u64>,
    /// How often the configuration was read again.
    pub(super) reloads: usize,
    /// How often the gateway's log speaks of a panic.
    pub(super) panics: usize,
    /// Clients of the soak that failed themselves.
    pub(super) clients_lost: usize,
    /// How the gateway ended.
    pub(super) ended: Result<(), String>,
    /// The ledger's entries, or what is not on record.
    pub(super) proof: Result<usize, String>,
}

impl Report {
    /// Everything that is not well, in words.
    fn faults_found(&self) -> Vec<String> {
        let mut out = Vec::new();
        for bound in &BOUNDS {
            match bound.growth(&self.samples) {
                Some(growth) if growth.is_none() => {}
                Some(growth) => out.push(format!(
                    "{} grow: {:.1} after {:.1}",
                    bound.what, growth.after, growth.before
                )),
                None => out.push(format!("{}: too few samples", bound.what)),
            }
        }
        if self.seen.wrongs > 0 {
            out.push(format!("{} answers were wrong", self.seen.wrongs));
            out.extend(self.seen.wrong.iter().map(|w| format!("  {w}")));
        }
        if self.seen.served.is_empty() {
            out.push("nothing was served".to_owned());
        }
        if self.panics > 0 {
            out.push(format!("the gateway's log speaks of {} panics", self.panics));
        }
        if self.clients_lost > 0 {
            out.push(format!("{} clients failed", self.clients_lost));
        }
        out.extend(self.ended.clone().err());
        out.extend(self.proof.clone().err());
        out
    }

    /// Whether all was well.
    pub(super) fn is_well(&self) -> bool {
        self.faults_found().is_empty()
    }

    /// The table, and the verdict.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("\n   minute   answers      MiB   descriptors   threads\n");
        let step = (self.samples.len() / ROWS).max(1);
        for s in self.samples.iter().step_by(step) {
            out.push_str(&format!(
                "{:>9.1} {:>9} {:>8.1} {:>13.0} {:>9.0}\n",
                s.at / 60.0,
                s.requests,
                s.memory,
                s.descriptors,
                s.threads
            ));
        }
        out.push_str("\n                  2nd quarter   last quarter   at most\n");
        for bound in &BOUNDS {
            if let Some(g) = bound.growth(&self.samples) {
                let what = bound.what;
                let (before, after, most) = (g.before, g.after, g.most);
                out.push_str(&format!("{what:<14} {before:>14.1} {after:>14.1} {most:>9.1}\n"));
            }
        }
        let list = |all: Vec<String>| all.join(", ");
        let statuses = self.seen.statuses.iter().map(|(s, n)| format!("{s}: {n}")).collect();
        out.push_str(&format!("\nanswers         {}\n", list(statuses)));
        let faults = self.faults.iter().map(|(f, n)| format!("{f:?}: {n}")).collect();
        out.push_str(&format!("upstream faults {}\n", list(faults)));
        out.push_str(&format!("reloads         {}\n", self.reloads));
        let entries = self.proof.as_ref().map_or("unknown".to_owned(), ToString::to_string);
        let served = self.seen.served.len();
        out.push_str(&format!("on record       {entries} entries; {served} artifacts served\n"));
        match self.faults_found().as_slice() {
            [] => out.push_str("\nsoak: all is well\n"),
            found => out.push_str(&format!("\nsoak: NOT WELL\n{}\n", found.join("\n"))),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let sample = |i| Sample {
            at: f64::from(i),
            memory: 50.0,
            descriptors: 30.0,
            threads: 9.0,
            requests: 10,
        };
        Report {
            samples: (0..40).map(sample).collect(),
            seen: Seen {
                statuses: BTreeMap::from([(200, 10)]),
                served: ["ab".to_owned()].into(),
                wrong: Vec::new(),
                wrongs: 0,
            },
            faults: BTreeMap::new(),
            reloads: 2,
            panics: 0,
            clients_lost: 0,
            ended: Ok(()),
            proof: Ok(7),
        }
    }

    #[test]
    fn whatever_is_wrong_is_said_and_counts() {
        assert!(report().is_well() && report().text().contains("all is well"));
        type Change = fn(&mut Report);
        let changes: [(Change, &str); 7] = [
            (|r| r.samples.truncate(3), "too few"),
            (|r| r.samples.iter_mut().skip(30).for_each(|s| s.memory = 200.0), "memory, MiB grow"),
            (|r| r.seen.wrongs = 1, "1 answers were wrong"),
            (|r| r.seen.served.clear(), "nothing was served"),
            (|r| r.panics = 1, "panics"),
            (|r| r.ended = Err("it hangs".into()), "it hangs"),
            (|r| r.proof = Err("1 of 2 are not on record".into()), "not on record"),
        ];
        for (change, said) in changes {
            let mut r = report();
            change(&mut r);
            assert!(!r.is_well() && r.text().contains(said), "{said}: {}", r.text());
        }
    }
}
