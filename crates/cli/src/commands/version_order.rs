//! `countersign version-order`: whether versions stand in the order that a list says.

use crate::context::Failed;
use crate::print;
use clap::Args;
use countersign_ecosystem::version;
use countersign_engine::core::Ecosystem;
use std::cmp::Ordering;
use std::io::Read as _;
use std::path::PathBuf;

/// The largest list that is read, in bytes.
const MAX_LIST: u64 = 256 << 20;

/// `version-order`.
#[derive(Args)]
#[command(
    after_help = "Lines are `a < b`, `a = b` or `a > b`; empty lines and those that begin with # are skipped.\n\n\
                  Exit codes:\n  0  every line holds\n  1  some do not: they are printed, with the order that countersign uses\n\n\
                  Example:\n  echo '1.0rc1 < 1.0' | countersign version-order pypi -"
)]
pub struct VersionOrderArgs {
    /// Whose order: pypi, npm, cargo, debian, go or maven
    #[arg(value_parser = ecosystem)]
    pub ecosystem: Ecosystem,
    /// The list, or - for standard input
    pub file: PathBuf,
}

/// The ecosystem of a name, or of a purl's type.
fn ecosystem(word: &str) -> Result<Ecosystem, String> {
    let named = |e: &Ecosystem| e.to_string() == word || e.purl_type() == word;
    let known = || Ecosystem::ALL.map(|e| e.to_string()).join(", ");
    Ecosystem::ALL.into_iter().find(named).ok_or_else(|| format!("give one of {}", known()))
}

/// Runs the subcommand. Returns the exit code.
pub fn version_order(args: &VersionOrderArgs) -> Result<u8, Failed> {
    let text = read(args)?;
    let (mut lines, mut wrong) = (0u64, 0u64);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((a, said, b)) = parse(line) else {
            return Err(Failed::usage(format!(
                "line {number} of {} is `{line}`; write `a < b`, `a = b` or `a > b`",
                args.file.display()
            )));
        };
        lines += 1;
        let here = version::compare(args.ecosystem, a, b);
        if here != Some(said) {
            wrong += 1;
            let here = match here {
                Some(Ordering::Less) => "<",
                Some(Ordering::Equal) => "=",
                Some(Ordering::Greater) => ">",
                None => "no order",
            };
            print::line(&format!("{number}: {line}   here: {here}"));
        }
    }
    print::error_line(&format!("{lines} pairs, {wrong} do not hold"));
    Ok(u8::from(wrong > 0))
}

fn read(args: &VersionOrderArgs) -> Result<String, Failed> {
    let shown = args.file.display();
    let reading = |e: std::io::Error| Failed::usage(format!("{shown} cannot be read: {e}"));
    let source: Box<dyn std::io::Read> = if args.file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(&args.file).map_err(reading)?)
    };
    let mut text = String::new();
    source.take(MAX_LIST + 1).read_to_string(&mut text).map_err(reading)?;
    if text.len() as u64 > MAX_LIST {
        return Err(Failed::usage(format!("{shown} has more than {MAX_LIST} bytes; split it")));
    }
    Ok(text)
}

fn parse(line: &str) -> Option<(&str, Ordering, &str)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [a, said, b] = words.as_slice() else { return None };
    let said = match *said {
        "<" => Ordering::Less,
        "=" | "==" => Ordering::Equal,
        ">" => Ordering::Greater,
        _ => return None,
    };
    Some((*a, said, *b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_two_versions_and_a_sign() {
        assert_eq!(parse("1.0 < 2.0"), Some(("1.0", Ordering::Less, "2.0")));
        assert_eq!(parse("1.0\t==  1"), Some(("1.0", Ordering::Equal, "1")));
        for bad in ["1.0 2.0", "1.0 <= 2.0", "1.0 <", "a b < c"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
