//! What `cargo xtask soak` is asked for.

use std::path::PathBuf;
use std::time::Duration;

/// How the soak is called.
pub const USAGE: &str = "usage: cargo xtask soak [OPTION…]

  --minutes N       how long the clients ask                    [default: 10]
  --clients N       how many there are, of eight kinds          [default: 32]
  --seed N          the seed of all chance                      [default: 1]
  --program FILE    the countersign to soak         [default: a release build, made first]
  --keep            leave the folder with state, log and configuration behind
";

/// What to soak, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How long.
    pub time: Duration,
    /// How many clients.
    pub clients: u64,
    /// The seed of all chance.
    pub seed: u64,
    /// The program; `None` to build it.
    pub program: Option<PathBuf>,
    /// Whether the folder stays.
    pub keep: bool,
}

impl Options {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// Says which argument is not understood.
    pub fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut out = Self {
            time: Duration::from_secs(600),
            clients: 32,
            seed: 1,
            program: None,
            keep: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if *word == "--keep" {
                out.keep = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` wants a value"))?;
            let number = |most: u64| match value.parse::<u64>() {
                Ok(n) if (1..=most).contains(&n) => Ok(n),
                _ => Err(format!("`{word}` takes a number from 1 to {most}, not `{value}`")),
            };
            match *word {
                "--minutes" => out.time = minutes(value)?,
                "--clients" => out.clients = number(4000)?,
                "--seed" => out.seed = number(u64::MAX)?,
                "--program" => {
                    let file = PathBuf::from(value);
                    let found = file.canonicalize();
                    out.program = Some(found.map_err(|e| format!("`{value}`: {e}"))?);
                }
                other => return Err(format!("`{other}` is not an option of the soak")),
            }
        }
        Ok(out)
    }
}

fn minutes(text: &str) -> Result<Duration, String> {
    let most = 7.0 * 24.0 * 60.0;
    match text.parse::<f64>() {
        Ok(n) if n > 0.0 && n <= most => Ok(Duration::from_secs_f64(n * 60.0)),
        _ => Err(format!("`--minutes` takes a number above 0, up to a week, not `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_checked() {
        let options = Options::parse(&["--minutes", "0.5", "--clients", "8", "--keep"]).unwrap();
        assert_eq!((options.time, options.clients), (Duration::from_secs(30), 8));
        assert!(options.keep && options.program.is_none());
        for bad in [
            &["--minutes"][..],
            &["--minutes", "0"],
            &["--minutes", "NaN"],
            &["--clients", "0"],
            &["--hours", "1"],
            &["--program", "/nowhere/at/all"],
        ] {
            assert!(Options::parse(bad).is_err(), "{bad:?}");
        }
    }
}
