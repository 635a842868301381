//! A source text with a way from lines and columns to its bytes.

use sqlparser::tokenizer::{Location, Span};

pub(super) struct SourceText<'a> {
    text: &'a str,
    /// Byte offset of the start of each line.
    lines: Vec<usize>,
    /// Columns are bytes then: no line has to be walked through.
    ascii: bool,
}

impl<'a> SourceText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, lines: std::iter::once(0).chain(starts).collect(), ascii: text.is_ascii() }
    }

    /// The text between two places; empty when they lie outside.
    pub(super) fn slice(&self, span: Span) -> &'a str {
        let (start, end) = (self.offset(span.start), self.offset(span.end));
        self.text.get(start..end.max(start)).unwrap_or_default()
    }

    pub(super) fn offset(&self, place: Location) -> usize {
        let Some(start) = place.line.checked_sub(1).and_then(|line| self.lines.get(line as usize)) else {
            return self.text.len();
        };
        if self.ascii {
            return (start + place.column.saturating_sub(1) as usize).min(self.text.len());
        }
        let behind = self.text[*start..].char_indices().nth(place.column.saturating_sub(1) as usize);
        behind.map_or(self.text.len(), |(offset, _)| start + offset)
    }
}
