//! Marked blocks in files that belong to the user.
//!
//! What is written stands between two marker lines. Lines of the user's that it takes the place of
//! stay in the block behind `#~ `, so that taking the block away puts them back: the text is then,
//! byte for byte, what it was before, with whatever the user changed elsewhere since.

use std::ops::Range;

const BEGIN: &str = "# >>> countersign setup >>>";
const END: &str = "# <<< countersign setup <<<";
/// Before a line of the user's that is out of force.
const HELD: &str = "#~ ";
/// On a marker: the line before it had no end of its own.
const JOINED: &str = " (joined)";

/// Where a block goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// After everything else.
    End,
    /// After this line (counted from 0).
    After(usize),
}

/// A block that has no end: somebody edited its markers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclosed {
    /// The line of its begin, counted from 1.
    pub line: usize,
}

/// Whether a text holds a block.
pub fn is_in(text: &str) -> bool {
    text.lines().any(|l| l.starts_with(BEGIN))
}

/// The text without its blocks, and with the lines that they held.
pub fn strip(text: &str) -> Result<String, Unclosed> {
    let mut out = String::with_capacity(text.len());
    let mut open: Option<usize> = None;
    // Where the text ended without an end of line, if nothing was added behind it since.
    let mut ended = None;
    for (i, line) in text.split_inclusive('\n').enumerate() {
        let bare = line.trim_end_matches(['\n', '\r']);
        match open {
            None if bare.starts_with(BEGIN) => {
                open = Some(i);
                ended = if bare.ends_with(JOINED) { Some(out.len()) } else { ended };
            }
            None => out.push_str(line),
            Some(_) if bare.starts_with(END) => {
                open = None;
                ended = if bare.ends_with(JOINED) { Some(out.len()) } else { ended };
            }
            Some(_) => out.push_str(line.strip_prefix(HELD).unwrap_or("")),
        }
    }
    if ended == Some(out.len()) && out.ends_with('\n') {
        out.pop();
    }
    open.map_or(Ok(out), |i| Err(Unclosed { line: i + 1 }))
}

/// The text with a block of `lines`. The lines in `held` are taken out of force: each run of them
/// gets a block in its place, and `lines` stand where `place` says.
pub fn insert(text: &str, place: &Place, held: &[usize], lines: &[String]) -> String {
    let mut out = String::with_capacity(text.len() + 200);
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    let mut i = 0;
    while let Some(line) = all.get(i) {
        let run = run_from(held, i);
        if run.is_empty() {
            out.push_str(line);
            if *place == Place::After(i) {
                push(&mut out, lines);
            }
            i += 1;
        } else {
            hold(&mut out, all.get(run.clone()).unwrap_or(&[]));
            i = run.end;
        }
    }
    if *place == Place::End {
        push(&mut out, lines);
    }
    out
}

/// Takes lines out of force.
fn hold(out: &mut String, lines: &[&str]) {
    out.push_str(BEGIN);
    out.push('\n');
    for line in lines {
        out.push_str(HELD);
        out.push_str(line);
    }
    let joined = !out.ends_with('\n');
    if joined {
        out.push('\n');
    }
    out.push_str(END);
    out.push_str(if joined { JOINED } else { "" });
    out.push('\n');
}

fn run_from(held: &[usize], start: usize) -> Range<usize> {
    let mut end = start;
    while held.contains(&end) {
        end += 1;
    }
    start..end
}

fn push(out: &mut String, lines: &[String]) {
    let joined = !out.is_empty() && !out.ends_with('\n');
    if joined {
        out.push('\n');
    }
    out.push_str(BEGIN);
    out.push_str(if joined { JOINED } else { "" });
    out.push('\n');
    for line in lines {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str(END);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn a_block_goes_without_a_trace() {
        for text in ["", "\n", "a", "a\n", "a\r\nb", "a\n\n", "[global]\nx = 1\ny = 2", "ä\n#~ x\n"]
        {
            let count = text.split_inclusive('\n').count();
            let mut places = vec![Place::End];
            places.extend((0..count).map(Place::After));
            for place in places {
                let with = insert(text, &place, &[], &lines("k = v|l = w"));
                assert!(is_in(&with) && with.contains("k = v\nl = w\n"), "{with}");
                assert_eq!(strip(&with).unwrap(), text, "{place:?}\n{with}");
            }
        }
    }

    #[test]
    fn held_lines_come_back_where_they_were() {
        let text = "[global]\nindex-url = a\nother = 1\nindex-url = b\n";
        let with = insert(text, &Place::After(0), &[1, 3], &lines("index-url = c"));
        assert!(!with.lines().any(|l| l == "index-url = a" || l == "index-url = b"), "{with}");
        assert!(with.lines().any(|l| l == "index-url = c"), "{with}");
        assert_eq!(strip(&with).unwrap(), text);
        let with = insert("x = 1\ny = 2\n", &Place::End, &[0, 1], &lines("x = 3"));
        assert_eq!(strip(&with).unwrap(), "x = 1\ny = 2\n");
        let with = insert("x = 1\ny = 2", &Place::End, &[1], &lines("y = 3"));
        assert_eq!(strip(&with).unwrap(), "x = 1\ny = 2");
        let with = insert("x = 1", &Place::End, &[], &lines("y = 3"));
        assert_eq!(strip(&format!("{with}z = 1\n")).unwrap(), "x = 1\nz = 1\n");
    }

    #[test]
    fn what_the_user_adds_outside_stays_and_inside_goes() {
        let with = insert("a\n", &Place::End, &[], &lines("k = v"));
        let edited = format!("new\n{}last\n", with.replace("k = v", "k = mine\nm = 1"));
        assert_eq!(strip(&edited).unwrap(), "new\na\nlast\n");
    }

    #[test]
    fn a_block_without_an_end_is_left_to_the_user() {
        assert_eq!(strip("a\n# >>> countersign setup >>>\nb\n"), Err(Unclosed { line: 2 }));
    }
}
