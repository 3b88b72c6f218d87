//! What the client does by itself, so that only the artifact's own deeds remain.

use crate::event::{Deed, Event, Recorded};
use crate::plan::REGISTRY;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What a client did with a package that does nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// Deeds, each with its step and its actor, in the form in which they are compared.
    deeds: BTreeSet<(String, String, Deed)>,
    /// Who acted, by step.
    actors: BTreeSet<(String, String)>,
    /// The names that the client asks for packages.
    pub(crate) registries: BTreeSet<String>,
}

impl Baseline {
    /// What is learnt from a run over an empty package.
    pub(crate) fn of(record: &[Recorded]) -> Self {
        let mut out = Self::default();
        for (step, actor, deed) in deeds(record) {
            if step == REGISTRY {
                if let Deed::Resolved { name } = deed {
                    out.registries.insert(name.clone());
                }
                continue;
            }
            out.actors.insert((step.to_owned(), actor.to_owned()));
            out.deeds.insert((step.to_owned(), actor.to_owned(), compared(deed)));
        }
        out
    }

    /// Whether the client did that as well.
    pub(crate) fn has(&self, step: &str, actor: &str, deed: &Deed) -> bool {
        self.deeds.contains(&(step.to_owned(), actor.to_owned(), compared(deed)))
    }

    /// Whether the client led to that actor as well.
    pub(crate) fn knows(&self, step: &str, actor: &str) -> bool {
        self.actors.contains(&(step.to_owned(), actor.to_owned()))
    }
}

/// The deeds of a record, with step and actor.
pub(crate) fn deeds(record: &[Recorded]) -> impl Iterator<Item = (&str, &str, &Deed)> {
    record.iter().filter_map(|r| match &r.event {
        Event::Did { step, actor, deed } => Some((step.as_str(), actor.as_str(), deed)),
        _ => None,
    })
}

/// A deed without what differs from one run to the next.
fn compared(deed: &Deed) -> Deed {
    match deed {
        Deed::Started { program, arguments } => Deed::Started {
            program: steady(program),
            arguments: arguments.iter().map(|a| steady(a)).collect(),
        },
        Deed::Read { path } => Deed::Read { path: steady(path) },
        Deed::Wrote { path } => Deed::Wrote { path: steady(path) },
        other => other.clone(),
    }
}

/// A text without numbers, and with what lies in a temporary folder as one: names there are chance.
fn steady(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("/tmp/") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        out.push_str("/tmp/*");
        let end = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ')' | ',');
        rest = from.find(end).and_then(|end| from.get(end..)).unwrap_or_default();
    }
    out.push_str(rest);
    let mut steady = String::with_capacity(out.len());
    for c in out.chars() {
        match c {
            c if !c.is_ascii_digit() => steady.push(c),
            _ if steady.ends_with('#') => {}
            _ => steady.push('#'),
        }
    }
    steady
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_is_left_out() {
        assert_eq!(steady("cc /tmp/ccAb12.s -o /tmp/x/y.o"), "cc /tmp/* -o /tmp/*");
        assert_eq!(steady("exec('/tmp/pip-1x/setup.py')"), "exec('/tmp/*')");
        assert_eq!(steady("/home/dev/.npm/2026-11-20.log"), "/home/dev/.npm/#-#-#.log");
        assert_eq!(steady("plain"), "plain");
    }

    fn did(step: &str, actor: &str, deed: Deed) -> Recorded {
        let event = Event::Did { step: step.to_owned(), actor: actor.to_owned(), deed };
        Recorded { at: 0, event }
    }

    #[test]
    fn the_same_deed_by_another_is_not_the_clients() {
        let read = Deed::Read { path: "/home/dev/.npmrc".to_owned() };
        let asked = Deed::Resolved { name: "registry.example".to_owned() };
        let record = [did("install", "npm", read.clone()), did(REGISTRY, "npm", asked.clone())];
        let baseline = Baseline::of(&record);
        assert!(baseline.has("install", "npm", &read));
        assert!(!baseline.has("install", "npm > sh > node", &read));
        assert!(!baseline.has("import", "npm", &read));
        assert!(!baseline.has(REGISTRY, "npm", &asked));
        assert!(baseline.registries.contains("registry.example"));
    }
}
