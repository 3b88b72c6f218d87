//! On which lines the tables of a TOML document begin.

/// The lines of the tables that begin with one of some headers (`[[package]]`), in their order.
pub(super) struct TableLines<'a> {
    /// Line and `name` of each.
    tables: Vec<(u32, Option<&'a str>)>,
}

impl<'a> TableLines<'a> {
    pub(super) fn new(text: &'a str, headers: &[&str]) -> Self {
        let mut tables = Vec::new();
        let mut inside = false;
        for (line, number) in text.lines().zip(1u32..) {
            if line.starts_with('[') {
                inside = headers.contains(&line.trim_end());
                if inside {
                    tables.push((number, None));
                }
            } else if inside
                && let Some((_, name)) = tables.last_mut()
                && name.is_none()
            {
                *name = name_in(line);
            }
        }
        Self { tables }
    }

    /// The line of the `index`-th table, where it is the one of that name: a text over several lines
    /// may look like a table.
    pub(super) fn of(&self, index: usize, name: &str) -> Option<u32> {
        let (line, found) = self.tables.get(index)?;
        (*found == Some(name)).then_some(*line)
    }
}

/// The text of `name = "…"`.
fn name_in(line: &str) -> Option<&str> {
    let value = line.strip_prefix("name")?.trim_start().strip_prefix('=')?.trim();
    value.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tables_of_the_right_name_have_lines() {
        let text = "version = 1\n[[package]]\nname = \"a\"\n\n[package.x]\nname = \"no\"\n[[package]]\nversion = \"1\"\nname=\"b\"\n";
        let lines = TableLines::new(text, &["[[package]]"]);
        assert_eq!((lines.of(0, "a"), lines.of(1, "b")), (Some(2), Some(7)));
        assert_eq!((lines.of(0, "b"), lines.of(2, "c")), (None, None));
    }
}
