//! Where symlinks lead, through other symlinks of the same archive.

use super::path;
use std::collections::{HashMap, VecDeque};

/// Path components looked at while symlinks are resolved, in all; a package of 50,000 links needs
/// about half a million.
const SYMLINK_STEPS: u64 = 2_000_000;
/// Symlinks followed for one path, as Linux does.
const SYMLINK_HOPS: u32 = 40;

/// Follows symlinks as a kernel would, component by component.
pub(super) struct Resolver<'w> {
    links: &'w HashMap<String, String>,
    /// Components that make up the package's root: its single top directory, if it has one.
    root_depth: usize,
    /// Whether absolute targets start at that root (Debian) or lead outside.
    rooted: bool,
    steps: u64,
}

impl<'w> Resolver<'w> {
    pub(super) fn new(links: &'w HashMap<String, String>, root_depth: usize, rooted: bool) -> Self {
        Self { links, root_depth, rooted, steps: SYMLINK_STEPS }
    }

    /// Whether the link leads out of the root; `None` when the steps are used up.
    pub(super) fn leads_outside(&mut self, path: &str, target: &str) -> Option<bool> {
        let mut at: Vec<&str> = path.split('/').collect();
        at.pop();
        let mut ahead = VecDeque::new();
        if self.enter(target, &mut at, &mut ahead) {
            return Some(true);
        }
        let mut hops = 0;
        while let Some(part) = ahead.pop_front() {
            self.steps = self.steps.checked_sub(1)?;
            match part {
                "" | "." => continue,
                ".." if at.len() <= self.root_depth => return Some(true),
                ".." => {
                    at.pop();
                    continue;
                }
                part => at.push(part),
            }
            let here = at.join("/");
            let Some(next) = self.links.get(&here) else { continue };
            hops += 1;
            if hops > SYMLINK_HOPS {
                // A loop resolves to nothing, which harms nobody.
                return Some(false);
            }
            at.pop();
            if self.enter(next, &mut at, &mut ahead) {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Puts a target's components ahead; true when it is absolute and that leads outside.
    fn enter<'t>(
        &self,
        target: &'t str,
        at: &mut Vec<&'t str>,
        ahead: &mut VecDeque<&'t str>,
    ) -> bool {
        if path::examine(target.as_bytes()).absolute {
            if !self.rooted {
                return true;
            }
            at.truncate(self.root_depth);
        }
        for part in target.split('/').rev() {
            ahead.push_front(part);
        }
        false
    }
}
