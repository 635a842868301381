//! Options of the formats: their definitions (for listing and checking) and how values are read. Which options a
//! connector has, and what to say about an unknown one, is not decided here.

use std::collections::BTreeMap;
use std::fmt;

/// One option of a format, as `tidemill connectors` lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatOption {
    /// The whole key, with the format's prefix: `json.ignore-parse-errors`.
    pub key: &'static str,
    /// `Boolean`, `String`, or the accepted words, as in `SQL | ISO-8601`.
    pub value_type: &'static str,
    /// `None` where the option has no default.
    pub default: Option<&'static str>,
    pub description: &'static str,
}

/// A value that an option does not take, or a column that a format cannot carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormatProblem {
    /// `None` where the problem lies with a column.
    pub option: Option<String>,
    pub message: String,
    pub hint: String,
}

impl FormatProblem {
    pub(crate) fn value(option: &str, value: &str, hint: impl Into<String>) -> Self {
        let message = format!("'{option}' = '{value}' is not valid");
        Self { option: Some(option.into()), message, hint: hint.into() }
    }

    pub(crate) fn column(message: String, hint: impl Into<String>) -> Self {
        Self { option: None, message, hint: hint.into() }
    }
}

impl fmt::Display for FormatProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  hint: {}", self.message, self.hint)
    }
}

/// Reads values and gathers what is wrong with them, so that all problems are shown at once.
pub(crate) struct OptionReader<'a> {
    options: &'a BTreeMap<String, String>,
    pub(crate) problems: Vec<FormatProblem>,
}

impl<'a> OptionReader<'a> {
    pub(crate) fn new(options: &'a BTreeMap<String, String>) -> Self {
        Self { options, problems: Vec::new() }
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.options.get(key).map(String::as_str)
    }

    pub(crate) fn boolean(&mut self, key: &str, default: bool) -> bool {
        match self.text(key) {
            None => default,
            Some(value) if value.eq_ignore_ascii_case("true") => true,
            Some(value) if value.eq_ignore_ascii_case("false") => false,
            Some(value) => {
                self.problems.push(FormatProblem::value(key, value, "write 'true' or 'false'"));
                default
            }
        }
    }

    /// What `parse` makes of the value; its error says what to write instead.
    pub(crate) fn parsed<T: Default>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let Some(value) = self.text(key) else { return T::default() };
        parse(value).unwrap_or_else(|hint| {
            self.problems.push(FormatProblem::value(key, value, hint));
            T::default()
        })
    }

    /// One of the given words, in any case.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, default: T, choices: &[(&str, T)]) -> T {
        let Some(value) = self.text(key) else { return default };
        if let Some((_, choice)) = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(value)) {
            return *choice;
        }
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("'{word}'")).collect();
        self.problems.push(FormatProblem::value(key, value, format!("write one of {}", words.join(", "))));
        default
    }

    /// A single byte: an ASCII character, or an escape such as `\t`.
    pub(crate) fn character(&mut self, key: &str) -> Option<u8> {
        let value = self.text(key)?;
        let unescaped = unescape(value);
        match unescaped.as_bytes() {
            [byte] => Some(*byte),
            _ => {
                let hint = "write one ASCII character, or an escape such as '\\t' or U&'\\0009'";
                self.problems.push(FormatProblem::value(key, value, hint));
                None
            }
        }
    }
}

/// Java's escapes, which Flink's options use: `\t`, `\n`, `\r`, `\\`, `\uXXXX`; anything else stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (character, length) = escape_at(&rest[at..]);
        out.push(character);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

fn escape_at(text: &str) -> (char, usize) {
    let bytes = text.as_bytes();
    match bytes.get(1) {
        Some(b't') => ('\t', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b'\\') => ('\\', 2),
        Some(b'u') => text
            .get(2..6)
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32)
            .map_or(('\\', 1), |character| (character, 6)),
        _ => ('\\', 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        for (text, expected) in
            [(",", ","), ("\\t", "\t"), ("\\u0001", "\u{1}"), ("\\", "\\"), ("a\\\\b", "a\\b"), ("\\u00", "\\u00")]
        {
            assert_eq!(unescape(text), expected);
        }
    }
}
