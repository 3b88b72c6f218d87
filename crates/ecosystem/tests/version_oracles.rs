//! The order of versions against those who define it: pip's `packaging`, npm's `semver`, dpkg, Maven.
//!
//! Each oracle that is on this machine judges thousands of pairs that are made here; where one is
//! not, its part is skipped and says so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use countersign_core::Ecosystem;
use countersign_ecosystem::version::compare;
use std::cmp::Ordering;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// A generator whose numbers are the same in every run (Vigna's splitmix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.next(from.len())]
    }

    fn number(&mut self) -> String {
        match self.next(8) {
            0..=4 => self.next(4).to_string(),
            5 | 6 => self.next(30).to_string(),
            _ => self.next(20_261_231).to_string(),
        }
    }

    fn dotted(&mut self, least: usize, most: usize) -> String {
        let parts = least + self.next(most - least + 1);
        (0..parts).map(|_| self.number()).collect::<Vec<_>>().join(".")
    }
}

fn pypi(n: &mut Numbers) -> String {
    let mut v = n.pick(&["", "", "", "", "", "v", "1!", "0!"]).to_owned();
    v += &n.dotted(1, 4);
    if n.next(3) == 0 {
        v += n.pick(&["a", "b", "rc", ".alpha", "-beta.", "_c", "pre", "-preview_", "A"]);
        if n.next(4) > 0 {
            v += &n.number();
        }
    }
    if n.next(4) == 0 {
        v += &match n.next(4) {
            0 => format!("-{}", n.number()),
            1 => ".post".to_owned(),
            2 => format!(".rev{}", n.number()),
            _ => format!(".post{}", n.number()),
        };
    }
    if n.next(4) == 0 {
        v += &format!("{}{}", n.pick(&[".dev", "dev", "-dev"]), n.number());
    }
    if n.next(6) == 0 {
        v += &format!("+{}{}", n.pick(&["local", "ubuntu.", "1_", "abc-", "0", ""]), n.number());
    }
    v
}

fn semver(n: &mut Numbers) -> String {
    let mut v = n.dotted(3, 3);
    if n.next(2) == 0 {
        let part = |n: &mut Numbers| match n.next(3) {
            0 => n.pick(&["alpha", "beta", "rc", "x-y", "0a", "-", "A", "rc1", "1-"]).to_owned(),
            _ => n.number(),
        };
        let parts = 1 + n.next(3);
        let all: Vec<String> = (0..parts).map(|_| part(n)).collect();
        v += &format!("-{}", all.join("."));
    }
    if n.next(5) == 0 {
        v += &format!("+{}", n.pick(&["build", "build.1", "001", "exp.sha"]));
    }
    v
}

fn debian(n: &mut Numbers) -> String {
    let mut v = n.pick(&["", "", "", "", "1:", "0:", "2:"]).to_owned();
    v += &n.dotted(1, 3);
    if n.next(2) == 0 {
        v += n.pick(&["~", "+", "a", "~~", "~rc", "+dfsg", "+b", "z", ".", "~a~"]);
        v += &n.number();
    }
    if n.next(2) == 0 {
        v += &format!("-{}", n.number());
        if n.next(2) == 0 {
            v += n.pick(&["~bpo12+1", "+deb12u1", "ubuntu1", "+b1", "~", ".1", "~exp1"]);
        }
    }
    v
}

fn maven(n: &mut Numbers) -> String {
    let mut v = n.dotted(1, 4);
    for _ in 0..n.next(3) {
        v += n.pick(&["-", "-", ".", ""]);
        v += n.pick(&[
            "alpha",
            "beta",
            "M",
            "rc",
            "RC",
            "cr",
            "SNAPSHOT",
            "Final",
            "GA",
            "RELEASE",
            "sp",
            "jre",
            "android",
            "b",
            "a",
            "incubating",
            "redhat",
            "pre",
            "v",
        ]);
        if n.next(2) == 0 {
            v += n.pick(&["", "-", "."]);
            v += &n.number();
        }
    }
    v
}

/// Pairs, of which many are close: two of one release, or two that differ in a digit.
fn pairs(count: usize, make: fn(&mut Numbers) -> String, seed: u64) -> Vec<(String, String)> {
    let release = |v: &str| v.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(v.len());
    let mut n = Numbers(seed);
    let pair = |_| {
        let (a, other) = (make(&mut n), make(&mut n));
        let b = match n.next(3) {
            0 => other,
            1 => vary(&mut n, &a),
            _ => format!("{}{}", &a[..release(&a)], &other[release(&other)..]),
        };
        // A release that begins with a letter leaves nothing of itself.
        let b = if b.is_empty() { "0".to_owned() } else { b };
        (a, b)
    };
    (0..count).map(pair).collect()
}

/// The same version with one digit changed.
fn vary(n: &mut Numbers, v: &str) -> String {
    let digits: Vec<usize> =
        v.match_indices(|c: char| c.is_ascii_digit()).map(|(i, _)| i).collect();
    let at = digits[n.next(digits.len())];
    format!("{}{}{}", &v[..at], n.next(10), &v[at + 1..])
}

/// Asks a program that reads pairs, one a line with a blank between, and answers `<`, `=`, `>` or
/// `?` for what is no version there.
fn ask(program: &str, arguments: &[&str], pairs: &[(String, String)]) -> Option<Vec<char>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let text: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
    let mut stdin = child.stdin.take()?;
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().ok()?;
    let _ = writer.join().ok()?;
    let answers: Vec<char> = String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter_map(|line| line.chars().next())
        .collect();
    (output.status.success() && answers.len() == pairs.len()).then_some(answers)
}

/// Compares all pairs with an oracle's answers; what the oracle does not know is not counted.
#[track_caller]
fn agree(ecosystem: Ecosystem, pairs: &[(String, String)], answers: Option<Vec<char>>) {
    let Some(answers) = answers else {
        eprintln!("skipped: the oracle of {ecosystem} is not on this machine");
        return;
    };
    let (mut known, mut wrong) = (0, Vec::new());
    for ((a, b), answer) in pairs.iter().zip(answers) {
        let want = match answer {
            '<' => Ordering::Less,
            '=' => Ordering::Equal,
            '>' => Ordering::Greater,
            _ => continue,
        };
        known += 1;
        let here = compare(ecosystem, a, b);
        if here != Some(want) {
            wrong.push(format!("{a} {answer} {b}, here {here:?}"));
        }
    }
    assert!(known * 10 > pairs.len() * 8, "the oracle knows {known} of {} pairs", pairs.len());
    let first = wrong.iter().take(20).collect::<Vec<_>>();
    assert!(wrong.is_empty(), "{} of {known} are wrong: {first:#?}", wrong.len());
    eprintln!("{ecosystem}: {known} pairs agree");
}

#[test]
fn pypi_orders_as_pip_does() {
    let script = "import sys\nfrom pip._vendor.packaging.version import Version, InvalidVersion\n\
        for line in sys.stdin:\n    try:\n        a, b = map(Version, line.split())\n\
        \x20       print('<' if a < b else '>' if a > b else '=')\n\
        \x20   except InvalidVersion:\n        print('?')\n";
    let pairs = pairs(10_000, pypi, 1);
    agree(Ecosystem::Pypi, &pairs, ask("python3", &["-c", script], &pairs));
}

/// npm's own `semver`, wherever npm lies.
const SEMVER: &str = "const { execSync } = require('child_process');\n\
    const root = execSync('npm root -g').toString().trim();\n\
    const semver = require(root + '/npm/node_modules/semver');\n\
    const lines = require('fs').readFileSync(0, 'utf8').trim().split('\\n');\n\
    console.log(lines.map(l => { const [a, b] = l.split(' ');\n\
      try { return '<=>'[semver.compare(a, b) + 1]; } catch { return '?'; } }).join('\\n'));";

#[test]
fn npm_orders_as_npm_does() {
    let pairs = pairs(8_000, semver, 2);
    agree(Ecosystem::Npm, &pairs, ask("node", &["-e", SEMVER], &pairs));
}

/// cargo's versions are SemVer 2.0, as npm's are when nothing is read loosely.
#[test]
fn cargo_orders_as_semver_does() {
    let pairs = pairs(8_000, semver, 3);
    agree(Ecosystem::Cargo, &pairs, ask("node", &["-e", SEMVER], &pairs));
}

#[test]
fn debian_orders_as_dpkg_does() {
    let script = "dpkg --version >/dev/null || exit 1\nwhile read -r a b; do\n\
        dpkg --compare-versions \"$a\" lt \"$b\" 2>/dev/null; case $? in\n\
        0) echo '<';; 2) echo '?';;\n\
        *) if dpkg --compare-versions \"$a\" eq \"$b\" 2>/dev/null; then echo '='; else echo '>'; fi;;\n\
        esac; done";
    let pairs = pairs(4_000, debian, 4);
    agree(Ecosystem::Debian, &pairs, ask("sh", &["-c", script], &pairs));
}

/// Maven's own comparison, wherever its jar lies.
const MAVEN: &str = r#"
    d=$(mktemp -d) && trap 'rm -rf "$d"' EXIT && cat > "$d/O.java" <<'END'
import org.apache.maven.artifact.versioning.ComparableVersion;
public class O {
  public static void main(String[] a) throws Exception {
    var in = new java.io.BufferedReader(new java.io.InputStreamReader(System.in));
    var out = new StringBuilder();
    for (String line; (line = in.readLine()) != null; ) {
      String[] p = line.split(" ");
      int c = new ComparableVersion(p[0]).compareTo(new ComparableVersion(p[1]));
      out.append(c < 0 ? "<\n" : c > 0 ? ">\n" : "=\n");
    }
    System.out.print(out);
  }
}
END
    jars=$(ls /usr/share/maven*/lib/maven-artifact-*.jar /opt/maven*/lib/maven-artifact-*.jar 2>/dev/null | head -1)
    lang=$(ls /usr/share/maven*/lib/*lang3*.jar /opt/maven*/lib/*lang3*.jar 2>/dev/null | head -1)
    [ -n "$jars" ] && java -cp "$jars:$lang" "$d/O.java""#;

#[test]
fn maven_orders_as_maven_does() {
    let pairs = pairs(8_000, maven, 5);
    agree(Ecosystem::Maven, &pairs, ask("sh", &["-c", MAVEN], &pairs));
}
