//! What happens to a gateway that runs for long: feeds are swapped, and torn while they are written;
//! its configuration is read again.

use super::clients::packages_within;
use super::gateway::Gateway;
use super::packages::feed;
use super::upstream::Upstream;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often something happens.
const EVERY: Duration = Duration::from_secs(4);

/// The advisories' file, and what happens next to it.
pub(super) struct Feeds {
    file: PathBuf,
    /// Two forms that list the same malicious packages.
    forms: [Vec<u8>; 2],
    round: u64,
    due: Duration,
}

impl Feeds {
    /// Writes the first form. All that may be asked for within `time` is listed from the beginning.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn new(folder: &Path, time: Duration) -> Result<Self, String> {
        let count = packages_within(time.as_secs() + 120);
        let form = |extra| feed(count, extra).map_err(|e| e.to_string());
        let forms = [form(1)?, form(40)?];
        let file = folder.join("feed.zip");
        fs::write(&file, &forms[0]).map_err(|e| e.to_string())?;
        Ok(Self { file, forms, round: 0, due: EVERY })
    }

    /// Does what is due.
    pub(super) fn disturb(&mut self, gateway: &Gateway, upstream: &Upstream, now: Duration) {
        if now < self.due {
            return;
        }
        self.due = now + EVERY;
        self.round += 1;
        let [first, second] = &self.forms;
        let form = if self.round.is_multiple_of(2) { first } else { second };
        // A disk that fails here is seen by everything else.
        let _ = match self.round % 5 {
            // A new form takes the old one's place at once.
            0 => {
                let beside = self.file.with_extension("new");
                fs::write(&beside, form).and_then(|()| fs::rename(&beside, &self.file))
            }
            // The file is written in place and stays half written until the next time.
            1 => fs::write(&self.file, form.get(..form.len() / 2).unwrap_or_default()),
            2 => fs::write(&self.file, form),
            3 => {
                gateway.hang_up();
                Ok(())
            }
            _ => {
                let done = gateway.reconfigure(&upstream.configuration(), self.round);
                gateway.hang_up();
                done
            }
        };
    }
}
