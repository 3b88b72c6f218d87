//! The one place that writes to the terminal.

use std::io::{IsTerminal as _, Write as _};

/// Prints a line to standard output. A reader that went away ends the output, not the command.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints a line to standard error.
pub fn error_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Whether standard error is a terminal that takes colours (NO_COLOR, no-color.org).
pub fn colours() -> bool {
    std::io::stderr().is_terminal() && wanted()
}

/// Whether standard output is one.
pub fn colours_of_output() -> bool {
    std::io::stdout().is_terminal() && wanted()
}

fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Draws over the current line of standard error.
pub fn redraw(text: &str) {
    let _ = write!(std::io::stderr(), "\r\x1b[2K{text}");
    let _ = std::io::stderr().flush();
}

/// The width of the terminal in columns, 80 where there is none.
pub fn width() -> usize {
    terminal_size::terminal_size_of(std::io::stderr())
        .map_or(80, |(w, _)| usize::from(w.0))
        .clamp(40, 200)
}

/// The width of the terminal on standard output, 100 columns where there is none.
pub fn output_width() -> usize {
    terminal_size::terminal_size_of(std::io::stdout())
        .map_or(100, |(w, _)| usize::from(w.0))
        .clamp(60, 120)
}

/// A text broken at spaces, with later lines indented.
pub fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut out = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_keeps_every_word_and_the_width() {
        let text = "one two three four five six seven";
        let wrapped = wrap(text, 12, 2);
        assert_eq!(wrapped.split_whitespace().collect::<Vec<_>>().join(" "), text);
        assert!(wrapped.lines().all(|l| l.chars().count() <= 12), "{wrapped}");
    }
}
