//! Where the fields of a CSV record are and where the record ends. A quoted field may hold delimiters and newlines.

use super::CsvOptions;

/// Longest record. One stray quote would otherwise swallow the rest of its file.
pub(super) const RECORD_BYTES_MAX: usize = 16 << 20;

/// One field as it stands in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Without the quotes around it.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) quoted: bool,
    /// Holds doubled quotes or escapes.
    pub(super) encoded: bool,
}

/// What stands at a place of the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// A record from there to `end`; the next one begins at `next`.
    Record { end: usize, next: usize },
    /// A comment, or a blank line where those are skipped.
    Skipped { next: usize },
    /// Not a record; the line from there to `end` is to be left out.
    Bad { end: usize, next: usize, reason: &'static str },
    /// The block ends first.
    Incomplete,
}

#[derive(Debug)]
pub(super) struct Scanner {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    comments: bool,
    skip_blank: bool,
}

/// Where a field stops.
enum Stop {
    Delimiter,
    Line { next: usize },
    Bad(&'static str),
    Incomplete,
}

impl Scanner {
    /// `columns`: of the file. A blank line is a record only where there is one column.
    pub(super) fn new(options: &CsvOptions, columns: usize) -> Self {
        Self {
            delimiter: options.delimiter,
            quote: options.quote,
            escape: options.escape,
            comments: options.allow_comments,
            skip_blank: columns != 1,
        }
    }

    /// Looks at what begins at `at`; the fields of a record are left in `spans`. `last`: nothing follows the bytes.
    #[inline]
    pub(super) fn scan(&self, bytes: &[u8], at: usize, last: bool, spans: &mut Vec<Span>) -> Scanned {
        spans.clear();
        if at == bytes.len() {
            return Scanned::Incomplete;
        }
        let first = bytes[at];
        if (first == b'\n' || first == b'\r' || first == b'#')
            && let Some(skipped) = self.scan_skipped(bytes, at, last)
        {
            return skipped;
        }
        let whole = bytes.len() - at <= RECORD_BYTES_MAX;
        let within = if whole { bytes } else { &bytes[..at + RECORD_BYTES_MAX] };
        match self.scan_fields(within, at, last && whole, spans) {
            Stop::Line { next } => {
                let end = spans.last().map_or(at, |span| span.end + usize::from(span.quoted));
                Scanned::Record { end, next }
            }
            Stop::Bad(reason) => bad_line(bytes, at, last, reason),
            Stop::Incomplete if !whole => bad_line(bytes, at, last, "longer than 16 MiB: is a quote not closed?"),
            Stop::Incomplete if last => bad_line(bytes, at, last, "a quote is not closed"),
            Stop::Incomplete | Stop::Delimiter => Scanned::Incomplete,
        }
    }

    fn scan_skipped(&self, bytes: &[u8], at: usize, last: bool) -> Option<Scanned> {
        let comment = self.comments && bytes[at] == b'#';
        let Some((line, next)) = crate::framing::next_line(bytes, at, last) else {
            let undecided = comment || bytes[at] == b'\r';
            return undecided.then_some(Scanned::Incomplete);
        };
        (comment || (self.skip_blank && line.is_empty())).then_some(Scanned::Skipped { next })
    }

    /// Never gives [`Stop::Delimiter`].
    #[inline]
    fn scan_fields(&self, bytes: &[u8], mut at: usize, last: bool, spans: &mut Vec<Span>) -> Stop {
        loop {
            let quoted = self.quote.is_some() && bytes.get(at).copied() == self.quote;
            let (span, stop) =
                if quoted { self.scan_quoted(bytes, at + 1, last) } else { self.scan_plain(bytes, at, last) };
            spans.push(span);
            match stop {
                Stop::Delimiter => at = span.end + usize::from(span.quoted) + 1,
                other => return other,
            }
        }
    }

    #[inline]
    fn scan_plain(&self, bytes: &[u8], start: usize, last: bool) -> (Span, Stop) {
        let mut at = start;
        let mut encoded = false;
        let escape = self.escape.unwrap_or(b'\n');
        let stop = loop {
            at += position_of(&bytes[at..], [self.delimiter, b'\n', escape]);
            match bytes.get(at) {
                Some(byte) if *byte == self.delimiter => break Stop::Delimiter,
                Some(b'\n') => break Stop::Line { next: at + 1 },
                Some(_) if at + 1 < bytes.len() => {
                    encoded = true;
                    at += 2;
                }
                Some(_) if last => break Stop::Bad("an escape character ends the file"),
                None if last => break Stop::Line { next: at },
                _ => break Stop::Incomplete,
            }
        };
        let before_newline = matches!(stop, Stop::Line { .. }) && at > start && bytes[at - 1] == b'\r';
        (Span { start, end: at - usize::from(before_newline), quoted: false, encoded }, stop)
    }

    /// `start`: behind the opening quote.
    fn scan_quoted(&self, bytes: &[u8], start: usize, last: bool) -> (Span, Stop) {
        let quote = self.quote.unwrap_or(b'"');
        let escape = self.escape.unwrap_or(quote);
        let mut at = start;
        let mut encoded = false;
        let stop = loop {
            let Some(found) = memchr::memchr2(quote, escape, &bytes[at.min(bytes.len())..]) else {
                break Stop::Incomplete;
            };
            at += found;
            if bytes[at] != quote {
                encoded = true;
                at += 2;
                continue;
            }
            match bytes.get(at + 1) {
                Some(next) if *next == quote => {
                    encoded = true;
                    at += 2;
                }
                Some(next) if *next == self.delimiter => break Stop::Delimiter,
                Some(b'\n') => break Stop::Line { next: at + 2 },
                Some(b'\r') if bytes.get(at + 2) == Some(&b'\n') => break Stop::Line { next: at + 3 },
                Some(b'\r') if at + 2 == bytes.len() && last => break Stop::Line { next: at + 2 },
                Some(b'\r') if at + 2 == bytes.len() => break Stop::Incomplete,
                None if last => break Stop::Line { next: at + 1 },
                None => break Stop::Incomplete,
                Some(_) => break Stop::Bad("something stands between a closing quote and the next delimiter"),
            }
        };
        (Span { start, end: at, quoted: true, encoded }, stop)
    }

    /// Appends what the field stands for.
    pub(super) fn append_decoded(&self, raw: &[u8], span: Span, out: &mut Vec<u8>) {
        let mut rest = raw;
        while let Some((byte, behind)) = rest.split_first() {
            rest = behind;
            let escaped = self.escape == Some(*byte) || (span.quoted && self.quote == Some(*byte));
            match rest.split_first() {
                Some((next, behind)) if escaped => {
                    let doubled = self.escape != Some(*byte);
                    out.push(if doubled { *next } else { unescaped(*next) });
                    rest = behind;
                }
                _ => out.push(*byte),
            }
        }
    }
}

/// As Jackson, which Flink uses, reads the character behind an escape character.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'0' => 0,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        other => other,
    }
}

fn bad_line(bytes: &[u8], at: usize, last: bool, reason: &'static str) -> Scanned {
    match crate::framing::next_line(bytes, at, last) {
        Some((line, next)) => Scanned::Bad { end: line.end, next, reason },
        None => Scanned::Incomplete,
    }
}

/// Index of the first of three bytes, or the length.
#[inline]
fn position_of(bytes: &[u8], needles: [u8; 3]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let [first, second, third] = needles.map(|needle| ONES * u64::from(needle));
    let mut length = 0;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let hit = |needle: u64| {
            let zero_where_equal = word ^ needle;
            zero_where_equal.wrapping_sub(ONES) & !zero_where_equal
        };
        // The lowest set high bit is exact: a borrow can only disturb bytes behind a hit.
        let hits = (hit(first) | hit(second) | hit(third)) & HIGH;
        if hits != 0 {
            return length + hits.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length + rest.iter().position(|byte| needles.contains(byte)).unwrap_or(rest.len())
}
