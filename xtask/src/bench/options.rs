//! What `cargo xtask bench` is asked for.

use std::path::PathBuf;

/// How the bench is called.
pub const USAGE: &str = "usage: cargo xtask bench [OPTION…]

  --sets DIR        folder of sets, each a folder with requirements.txt, package.json, Cargo.lock
                    or packages.txt                             [default: ../shared/bench]
  --feeds DIR       advisory feeds that the gate knows          [default: ../shared/feeds]
  --peers DIR       where peers are installed (virtual environments, node_modules), beside PATH
  --only NAME,…     pip, uv, npm, cargo, apt, wrk, inside; part of a name is enough (npm-ci)
  --gate NAME,…     run, serve or none                          [default: run,serve]
  --rounds N        rounds of each client                       [default: 5]
  --quick           one round, no peers, short loads
  --program FILE    the countersign to measure          [default: a release build, made first]
  --python PROGRAM  the interpreter whose pip is measured       [default: python3]
  --python-version V  the Python whose wheels pip and uv choose, where the set wants
                    another than the interpreter's (wheels alone, then)
  --scratch DIR     the clients' fresh folders    [default: the shared memory, if it is there]
  --states DIR      the gates' and peers' folders    [default: the system's temporary folder]
  --page FILE       where the document goes; without it a part of the bench writes none
                                                                [default: docs/performance.md]
  --results FILE    where the figures go as JSON     [default: target/bench/results.json]
  --render FILE     measure nothing: write the document from such figures
";

/// The ways in which the gate can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// `countersign run -- COMMAND`.
    Run,
    /// `countersign serve`.
    Serve,
}

/// What to measure, with what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Folder of sets.
    pub sets: PathBuf,
    /// Advisory feeds.
    pub feeds: PathBuf,
    /// Folder of peers.
    pub peers: Option<PathBuf>,
    /// Parts to measure; empty for all.
    pub only: Vec<String>,
    /// Ways of the gate.
    pub gates: Vec<Gate>,
    /// Rounds of each client.
    pub rounds: usize,
    /// Whether this is a glance.
    pub quick: bool,
    /// The program to measure; `None` to build it.
    pub program: Option<PathBuf>,
    /// The interpreter whose pip is measured.
    pub python: String,
    /// The Python that wheels are chosen for; `None` for the interpreter's own.
    pub python_version: Option<String>,
    /// The clients' folders.
    pub scratch: Option<PathBuf>,
    /// The servers' folders.
    pub states: Option<PathBuf>,
    /// The document; `None` where none was named.
    pub page: Option<PathBuf>,
    /// The figures.
    pub results: PathBuf,
    /// Figures to render in place of measuring.
    pub render: Option<PathBuf>,
}

impl Options {
    /// Reads the command line; paths that are not given lie relative to the project's root.
    ///
    /// # Errors
    ///
    /// Says which argument is not understood.
    pub fn parse(arguments: &[&str], root: &std::path::Path) -> Result<Self, String> {
        let mut out = Self {
            sets: root.join("../shared/bench"),
            feeds: root.join("../shared/feeds"),
            peers: None,
            only: Vec::new(),
            gates: vec![Gate::Run, Gate::Serve],
            rounds: 5,
            quick: false,
            program: None,
            python: "python3".to_owned(),
            python_version: None,
            scratch: None,
            states: None,
            page: None,
            results: root.join("target/bench/results.json"),
            render: None,
        };
        let mut words = arguments.iter();
        let mut rounds = None;
        while let Some(word) = words.next() {
            if *word == "--quick" {
                out.quick = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("`{word}` wants a value"));
            match *word {
                "--sets" => out.sets = absolute(value?)?,
                "--feeds" => out.feeds = absolute(value?)?,
                "--peers" => out.peers = Some(absolute(value?)?),
                "--only" => out.only = value?.split(',').map(str::to_owned).collect(),
                "--gate" => out.gates = gates(value?)?,
                "--rounds" => rounds = Some(number(value?)?),
                "--program" => out.program = Some(absolute(value?)?),
                "--python" => out.python = value?.to_string(),
                "--python-version" => out.python_version = Some(value?.to_string()),
                "--scratch" => out.scratch = Some(absolute(value?)?),
                "--states" => out.states = Some(absolute(value?)?),
                "--page" => out.page = Some(absolute(value?)?),
                "--results" => out.results = absolute(value?)?,
                "--render" => out.render = Some(absolute(value?)?),
                other => return Err(format!("`{other}` is not an option of the bench")),
            }
        }
        out.rounds = rounds.unwrap_or(if out.quick { 1 } else { 5 });
        let known = |part: &String| PARTS.iter().any(|p| p.contains(part.as_str()));
        if let Some(unknown) = out.only.iter().find(|p| !known(p)) {
            return Err(format!("`{unknown}` is no part of the bench: {}", PARTS.join(", ")));
        }
        Ok(out)
    }

    /// Whether a part is to be measured.
    #[must_use]
    pub fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| part.contains(o.as_str()))
    }

    /// Whether everything is measured, so that the document can be written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.only.is_empty() && !self.quick && self.rounds >= 3 && self.gates.len() == 2
    }
}

/// The parts of the bench.
const PARTS: [&str; 9] = [
    "pip-download",
    "pip-install",
    "uv",
    "npm-install",
    "npm-ci",
    "cargo-fetch",
    "apt-download",
    "wrk",
    "inside",
];

fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|e| format!("`{path}` is no path: {e}"))
}

fn gates(list: &str) -> Result<Vec<Gate>, String> {
    if list == "none" {
        return Ok(Vec::new());
    }
    list.split(',')
        .map(|name| match name {
            "run" => Ok(Gate::Run),
            "serve" => Ok(Gate::Serve),
            other => Err(format!("`{other}` is no way to run the gate: run, serve or none")),
        })
        .collect()
}

fn number(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err(format!("`{text}` is no number of rounds")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(arguments, Path::new("/project"))
    }

    #[test]
    fn a_part_is_named_by_a_part_of_its_name() {
        let only = parse(&["--only", "npm,wrk"]).unwrap();
        assert!(only.wants("npm-install") && only.wants("npm-ci") && only.wants("wrk"));
        assert!(!only.wants("pip-download") && !only.is_whole());
        assert!(parse(&[]).unwrap().wants("uv") && parse(&[]).unwrap().is_whole());
    }

    #[test]
    fn a_glance_is_one_round() {
        assert_eq!(parse(&["--quick"]).unwrap().rounds, 1);
        assert_eq!(parse(&["--quick", "--rounds", "3"]).unwrap().rounds, 3);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (bad, named) in [
            (vec!["--fast"], "--fast"),
            (vec!["--fast", "x"], "--fast"),
            (vec!["--sets"], "--sets"),
            (vec!["--only", "pip,gem"], "gem"),
            (vec!["--gate", "stand"], "stand"),
            (vec!["--rounds", "0"], "`0`"),
        ] {
            let said = parse(&bad).unwrap_err();
            assert!(said.contains(named), "{bad:?}: {said}");
        }
    }
}
