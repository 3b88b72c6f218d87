//! What tells one set of grounds from another, also after a restart.

use crate::grounds::Grounds;
use countersign_core::Sha256Digest;
use serde::{Deserialize, Serialize};

/// The identities of everything that a decision rests on beside the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroundsId {
    /// The digest of the policy.
    pub policy: String,
    /// The policy's name, which is no part of its identity.
    pub policy_name: String,
    /// The digest of the configuration's lists.
    pub lists: String,
    /// The digest of the waivers in force.
    pub waivers: String,
    /// The identity of the feeds' index; `None` without feeds.
    pub feeds: Option<String>,
    /// The digest of the trust roots.
    pub roots: String,
    /// The digest of the organisation's keys; none before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<String>,
    /// The digest of VEX documents and files of waivers; empty without any.
    #[serde(default)]
    pub exemptions: String,
}

/// What differs between two sets of grounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Policy,
    Lists,
    Waivers,
    Feeds,
    Roots,
    Keys,
    Exemptions,
}

impl Change {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Policy => "the policy changed",
            Self::Lists => "the configuration's lists changed",
            Self::Waivers => "the waivers changed",
            Self::Feeds => "the feeds changed",
            Self::Roots => "the trust roots changed",
            Self::Keys => "the organisation's keys changed",
            Self::Exemptions => "VEX documents or files of waivers changed",
        }
    }
}

impl GroundsId {
    pub(crate) fn of(grounds: &Grounds) -> Self {
        let mut waivers: Vec<String> = grounds
            .waivers
            .iter()
            .map(|w| format!("{} {} {} {}\n", w.id, w.target, w.covers, w.until))
            .collect();
        waivers.sort();
        Self {
            policy: grounds.policy.digest().to_hex(),
            policy_name: grounds.policy.name().to_owned(),
            lists: grounds.lists.digest().to_hex(),
            waivers: Sha256Digest::of(waivers.concat().as_bytes()).to_hex(),
            feeds: grounds.feeds.as_ref().map(|f| f.identity().to_owned()),
            roots: grounds.roots.digest().to_hex(),
            keys: Some(&grounds.keys).filter(|k| !k.is_empty()).map(|k| k.digest().to_hex()),
            exemptions: grounds.exemptions.identity().to_owned(),
        }
    }

    /// What differs from `earlier` ones beside the waivers, in words.
    pub(crate) fn changes_beside_waivers(&self, earlier: &Self) -> Vec<&'static str> {
        let changes = self.changes(earlier).into_iter();
        changes.filter(|c| *c != Change::Waivers).map(Change::words).collect()
    }

    /// What differs from `earlier` ones.
    pub(super) fn changes(&self, earlier: &Self) -> Vec<Change> {
        [
            (Change::Policy, self.policy != earlier.policy),
            (Change::Lists, self.lists != earlier.lists),
            (Change::Waivers, self.waivers != earlier.waivers),
            (Change::Feeds, self.feeds != earlier.feeds),
            (Change::Roots, self.roots != earlier.roots),
            (Change::Keys, self.keys != earlier.keys),
            (Change::Exemptions, self.exemptions != earlier.exemptions),
        ]
        .into_iter()
        .filter_map(|(change, differs)| differs.then_some(change))
        .collect()
    }
}
