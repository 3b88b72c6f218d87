//! The deb822 format: paragraphs of fields (Debian Policy, section 5.1; deb822(5)).

/// Bounds on a deb822 text, against texts made to fill memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deb822Limits {
    /// Bytes of the whole text.
    pub max_bytes: usize,
    /// Paragraphs in the text.
    pub max_paragraphs: usize,
    /// Fields of one paragraph.
    pub max_fields: usize,
}

impl Default for Deb822Limits {
    fn default() -> Self {
        Self { max_bytes: 64 << 20, max_paragraphs: 100_000, max_fields: 500 }
    }
}

/// Why a text is no deb822.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Deb822Error {
    /// A line that is no field, continuation or comment.
    #[error("line {line} of the control data is no field: `{text}`")]
    NoField {
        /// The line's number, from 1.
        line: u64,
        /// Its beginning.
        text: String,
    },
    /// A field that occurs twice in a paragraph.
    #[error("field `{field}` occurs twice before line {line} of the control data")]
    DuplicateField {
        /// The line's number, from 1.
        line: u64,
        /// The field's name.
        field: String,
    },
    /// A field that has to be there and is not.
    #[error("the control data before line {line} has no field `{field}`")]
    MissingField {
        /// The line's number, from 1, or 0 when the text is one paragraph.
        line: u64,
        /// The field's name.
        field: String,
    },
    /// A field's value that means nothing.
    #[error("field `{field}` of the control data has the value `{value}`, which cannot be read")]
    BadValue {
        /// The field's name.
        field: String,
        /// The value's beginning.
        value: String,
    },
    /// A text that is not UTF-8.
    #[error("the control data is not UTF-8")]
    NotUtf8,
    /// A limit.
    #[error("the control data is larger than the limit of {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The bytes could not be read or unpacked.
    #[error("could not read the control data: {0}")]
    Read(String),
}

impl Deb822Error {
    pub(super) fn bad_value(field: &str, value: &str) -> Self {
        Self::BadValue { field: field.to_owned(), value: value.chars().take(120).collect() }
    }

    pub(super) fn no_field(line: u64, text: &str) -> Self {
        Self::NoField { line, text: text.chars().take(120).collect() }
    }

    pub(super) fn missing(line: u64, field: &str) -> Self {
        Self::MissingField { line, field: field.to_owned() }
    }
}

/// One paragraph: fields in their order, names compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paragraph {
    fields: Vec<(String, String)>,
    line: u64,
}

impl Paragraph {
    /// The value of a field: trimmed, continuation lines joined by line feeds.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The value of a field that has to be there and not to be empty.
    ///
    /// # Errors
    /// When it is not.
    pub fn require(&self, name: &str) -> Result<&str, Deb822Error> {
        self.get(name).filter(|v| !v.is_empty()).ok_or_else(|| Deb822Error::missing(0, name))
    }

    /// The line of its first field, from 1.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }

    /// All fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

/// Whether `name` is a field's name: printable ASCII without space and colon, not beginning with
/// `#` or `-` (Debian Policy, section 5.1).
pub(super) fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|b| (33..=126).contains(&b) && b != b':')
}

/// Reads all paragraphs of a text. Lines that begin with `#` are comments.
///
/// # Errors
/// When a line is no field, a field occurs twice in a paragraph, or a limit is reached.
pub fn parse_paragraphs(text: &str, limits: &Deb822Limits) -> Result<Vec<Paragraph>, Deb822Error> {
    let too_large = |what, limit: usize| Deb822Error::TooLarge { what, limit: limit as u64 };
    if text.len() > limits.max_bytes {
        return Err(too_large("bytes", limits.max_bytes));
    }
    let mut paragraphs = Vec::new();
    let mut current = Paragraph::default();
    for (line, number) in text.lines().zip(1u64..) {
        if line.trim().is_empty() {
            if !current.fields.is_empty() {
                paragraphs.push(std::mem::take(&mut current));
            }
            if paragraphs.len() > limits.max_paragraphs {
                return Err(too_large("paragraphs", limits.max_paragraphs));
            }
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        add_line(&mut current, line, number)?;
        if current.fields.len() > limits.max_fields {
            return Err(too_large("fields", limits.max_fields));
        }
    }
    if !current.fields.is_empty() {
        paragraphs.push(current);
    }
    Ok(paragraphs)
}

fn add_line(paragraph: &mut Paragraph, line: &str, number: u64) -> Result<(), Deb822Error> {
    let no_field = || Deb822Error::no_field(number, line);
    if line.starts_with([' ', '\t']) {
        let (_, value) = paragraph.fields.last_mut().ok_or_else(no_field)?;
        value.push('\n');
        value.push_str(line.trim());
        return Ok(());
    }
    let (name, value) = line.split_once(':').ok_or_else(no_field)?;
    if !is_field_name(name) {
        return Err(no_field());
    }
    if paragraph.get(name).is_some() {
        return Err(Deb822Error::DuplicateField { line: number, field: name.to_owned() });
    }
    if paragraph.fields.is_empty() {
        paragraph.line = number;
    }
    paragraph.fields.push((name.to_owned(), value.trim().to_owned()));
    Ok(())
}
