//! What is wrong with a text: a message, the place, and what to write instead.
//!
//! Every error of this crate that a user can cause is a [`Diagnostic`]; printing follows rustc's layout.

use std::fmt;

use sqlparser::tokenizer::{Location, Span};
use tidemill_engine::suggestion::closest;

use crate::secret::without_secrets;

/// One finding in a source text. Lines and columns count from 1, columns in characters; line 0 means "no place".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub message: String,
    pub line: u64,
    pub column: u64,
    /// Column just behind the last marked character of `line`.
    pub end_column: u64,
    pub hint: Option<String>,
}

/// Stands for "to the end of the line" in [`Diagnostic::end_column`]; rendering clips it.
const TO_LINE_END: u64 = u64::MAX;

impl Diagnostic {
    /// A finding without a place (yet): see [`Diagnostic::or_at`].
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: 0, column: 0, end_column: 0, hint: None }
    }

    /// A finding at a piece of the text; an empty span means "no place".
    pub fn at(span: Span, message: impl Into<String>) -> Self {
        Self::new(message).or_at(span)
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "did you mean" when one of `candidates` is close to `word`.
    pub fn with_suggestion<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match closest(word, candidates) {
            Some(candidate) => self.with_hint(format!("did you mean `{candidate}`?")),
            None => self,
        }
    }

    /// Gives the finding a place unless it has one.
    pub fn or_at(mut self, span: Span) -> Self {
        if self.line == 0 && span.start.line > 0 {
            self.line = span.start.line;
            self.column = span.start.column;
            let one_line = span.end.line == span.start.line;
            self.end_column = if one_line { span.end.column.max(span.start.column + 1) } else { TO_LINE_END };
        }
        self
    }

    pub fn has_place(&self) -> bool {
        self.line > 0
    }

    /// The finding as a terminal shows it: message, file and place, the source line with carets, the hint.
    pub fn render(&self, file: &str, source: &str) -> String {
        let mut text = format!("error: {}\n", self.message);
        if self.has_place() {
            self.render_place(file, source, &mut text);
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        text
    }

    fn render_place(&self, file: &str, source: &str, text: &mut String) {
        text.push_str(&format!(" --> {file}:{}:{}\n", self.line, self.column));
        let Some(line) = source.split('\n').nth(self.line as usize - 1) else { return };
        let line = line.trim_end_matches('\r');
        let (shown, start, end) = excerpt(&without_secrets(line), self.column, self.end_column);
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let shown_text: String = shown.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("{margin} |\n{number} | {shown_text}\n"));
        text.push_str(&format!("{margin} | {}{}\n", " ".repeat(start), "^".repeat((end - start).max(1))));
    }
}

/// Characters of a source line that are shown at most: a generated text may have one line of megabytes.
const SHOWN_CHARACTERS_MAX: usize = 160;
/// Characters kept before the marked place when a long line is cut.
const SHOWN_BEFORE: usize = 60;

/// Cuts a long line around the marked columns: the text shown, and where the marks start and end in it.
fn excerpt(line: &str, column: u64, end_column: u64) -> (String, usize, usize) {
    let length = line.chars().count();
    let start = (column.saturating_sub(1) as usize).min(length);
    let end = end_column.saturating_sub(1).min(length as u64) as usize;
    let skip = if length > SHOWN_CHARACTERS_MAX { start.saturating_sub(SHOWN_BEFORE) } else { 0 };
    let shown: String = line.chars().skip(skip).take(SHOWN_CHARACTERS_MAX).collect();
    let end = end.max(start).min(skip + SHOWN_CHARACTERS_MAX);
    (shown, start - skip, end - skip)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has_place() {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Diagnostic {}

/// The place that a sqlparser message names at its end (` at Line: 3, Column: 7`), and the message without it.
pub(crate) fn split_place(message: &str) -> (&str, Span) {
    const MARK: &str = " at Line: ";
    let Some(at) = message.rfind(MARK) else { return (message, Span::empty()) };
    let numbers = &message[at + MARK.len()..];
    let place = numbers
        .split_once(", Column: ")
        .and_then(|(line, column)| Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?)));
    match place {
        Some(start) => (&message[..at], Span::new(start, start)),
        None => (message, Span::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn renders_like_rustc() {
        let source = "SELECT *\nFROM bdi WHERE x";
        let span = Span::new(Location::new(2, 6), Location::new(2, 9));
        let found = Diagnostic::at(span, "table `bdi` does not exist").with_suggestion("bdi", ["ask", "bid"]);
        expect![[r#"
            error: table `bdi` does not exist
             --> job.sql:2:6
              |
            2 | FROM bdi WHERE x
              |      ^^^
            hint: did you mean `bid`?
        "#]]
        .assert_eq(&found.render("job.sql", source));
    }

    #[test]
    fn places_outside_the_text_do_not_panic() {
        for (line, column, end) in [(0, 0, 0), (1, 900, 901), (9, 1, 2), (1, 1, u64::MAX), (1, 3, 1)] {
            let found = Diagnostic { message: "m".into(), line, column, end_column: end, hint: None };
            assert!(found.render("f", "ab\ncd").starts_with("error: m"));
        }
        let long = "x".repeat(10_000);
        let found = Diagnostic { message: "m".into(), line: 1, column: 5_000, end_column: 5_002, hint: None };
        assert!(found.render("f", &long).len() < 600);
    }
}
