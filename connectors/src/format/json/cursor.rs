//! Walks over the text of one JSON record: finds where values end and checks that they are JSON. What a value means for
//! a column is decided in [`super::value`].
//!
//! Nothing here recurses, so that no depth of nesting can exhaust the stack.

use crate::format::flaw::{Flaw, Parsed};
use crate::format::number::{Grammar, Number};

/// A place in a record. The bytes are valid UTF-8.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// What stands between two quotes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
}

/// Which containers are open, one bit each.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    words: Vec<u64>,
    depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Object,
    Array,
}

impl Nesting {
    fn push(&mut self, container: Container) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if word == self.words.len() {
            self.words.push(0);
        }
        let mask = 1 << bit;
        match container {
            Container::Object => self.words[word] |= mask,
            Container::Array => self.words[word] &= !mask,
        }
        self.depth += 1;
    }

    fn top(&self) -> Option<Container> {
        let index = self.depth.checked_sub(1)?;
        let object = self.words[index / 64] >> (index % 64) & 1 == 1;
        Some(if object { Container::Object } else { Container::Array })
    }
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte; zero at the end, which no JSON token begins with.
    #[inline(always)]
    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub(super) fn space(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    /// Takes the byte if it comes next.
    #[inline(always)]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    /// Takes `literal` if it comes next.
    #[inline(always)]
    pub(super) fn eat_all(&mut self, literal: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(literal);
        self.at += if found { literal.len() } else { 0 };
        found
    }

    #[cold]
    pub(super) fn unexpected(&self, wanted: &str) -> Flaw {
        let found = match std::str::from_utf8(&self.bytes[self.at..]).ok().and_then(|rest| rest.chars().next()) {
            None => "the record ends".to_owned(),
            Some(character) => format!("{character:?} stands"),
        };
        Flaw::new(format!("not JSON: {found} at character {} where {wanted} should be", self.at + 1))
    }

    /// A string; the opening quote comes next.
    #[inline]
    pub(super) fn string(&mut self) -> Parsed<Quoted<'a>> {
        if !self.eat(b'"') {
            return Err(self.unexpected("a string"));
        }
        self.rest_of_string()
    }

    /// A string whose opening quote is taken.
    #[inline(always)]
    pub(super) fn rest_of_string(&mut self) -> Parsed<Quoted<'a>> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.peek() {
                b'"' => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Quoted { raw, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.unexpected("the end of a string")),
            }
        }
    }

    /// Takes one escape sequence (a pair of them for a surrogate pair) and gives its character.
    #[cold]
    fn escape(&mut self) -> Parsed<char> {
        let (character, length) =
            escape_at(&self.bytes[self.at..]).ok_or_else(|| self.unexpected("a valid escape sequence"))?;
        self.at += length;
        Ok(character)
    }

    /// A number; its first character comes next.
    #[inline]
    pub(super) fn number(&mut self) -> Parsed<Number<'a>> {
        match Number::scan(self.bytes, self.at, Grammar::Json) {
            Some((number, end)) => {
                self.at = end;
                Ok(number)
            }
            None => Err(self.unexpected("a number")),
        }
    }

    /// An integer of at most 18 digits without point and exponent; anything else is left where it is.
    #[inline(always)]
    pub(super) fn small_integer(&mut self) -> Option<i64> {
        const DIGITS_MAX: usize = 18;
        let negative = self.bytes[self.at] == b'-';
        let first = self.at + usize::from(negative);
        let mut at = first;
        let mut value: i64 = 0;
        let next = loop {
            let byte = self.bytes.get(at).copied().unwrap_or(0);
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 || at - first == DIGITS_MAX {
                break byte;
            }
            value = value * 10 + i64::from(digit);
            at += 1;
        };
        let plain = !matches!(next, b'.' | b'e' | b'E' | b'0'..=b'9');
        let canonical = at == first + 1 || (at > first && self.bytes[first] != b'0');
        if !plain || !canonical {
            return None;
        }
        self.at = at;
        Some(if negative { -value } else { value })
    }

    /// Any value, checked and left behind; gives its text.
    #[inline]
    pub(super) fn skip(&mut self, nesting: &mut Nesting) -> Parsed<&'a [u8]> {
        let start = self.at;
        match self.peek() {
            b'{' | b'[' => self.skip_container(nesting)?,
            _ => self.skip_scalar()?,
        }
        Ok(&self.bytes[start..self.at])
    }

    #[inline]
    fn skip_scalar(&mut self) -> Parsed<()> {
        match self.peek() {
            b'"' => self.string().map(drop),
            b'-' | b'0'..=b'9' => self.skip_number(),
            b't' if self.eat_all(b"true") => Ok(()),
            b'f' if self.eat_all(b"false") => Ok(()),
            b'n' if self.eat_all(b"null") => Ok(()),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Plain integers at once; everything else by the grammar.
    #[inline]
    pub(super) fn skip_number(&mut self) -> Parsed<()> {
        let start = self.at;
        let mut at = start + usize::from(self.bytes[start] == b'-');
        let first = at;
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        let next = self.bytes.get(at).copied().unwrap_or(0);
        if at > first && (at == first + 1 || self.bytes[first] != b'0') && !matches!(next, b'.' | b'e' | b'E') {
            self.at = at;
            return Ok(());
        }
        self.number().map(drop)
    }

    fn skip_container(&mut self, nesting: &mut Nesting) -> Parsed<()> {
        nesting.depth = 0;
        loop {
            match self.peek() {
                b'{' => {
                    self.at += 1;
                    nesting.push(Container::Object);
                    self.space();
                    if self.peek() != b'}' {
                        self.key_and_colon()?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    nesting.push(Container::Array);
                    self.space();
                    if self.peek() != b']' {
                        continue;
                    }
                }
                _ => self.skip_scalar()?,
            }
            if self.close_containers(nesting)? {
                return Ok(());
            }
        }
    }

    /// Behind a value: closes what ends here. True when nothing is open any more; otherwise a value comes next.
    fn close_containers(&mut self, nesting: &mut Nesting) -> Parsed<bool> {
        while let Some(container) = nesting.top() {
            self.space();
            match (container, self.peek()) {
                (Container::Object, b'}') | (Container::Array, b']') => {
                    self.at += 1;
                    nesting.depth -= 1;
                }
                (Container::Object, b',') => {
                    self.at += 1;
                    self.space();
                    self.key_and_colon()?;
                    return Ok(false);
                }
                (Container::Array, b',') => {
                    self.at += 1;
                    self.space();
                    return Ok(false);
                }
                (Container::Object, _) => return Err(self.unexpected("',' or '}'")),
                (Container::Array, _) => return Err(self.unexpected("',' or ']'")),
            }
        }
        Ok(true)
    }

    /// A key and the colon behind it, up to the value.
    #[inline]
    pub(super) fn key_and_colon(&mut self) -> Parsed<Quoted<'a>> {
        let key = self.string()?;
        self.space();
        if !self.eat(b':') {
            return Err(self.unexpected("':'"));
        }
        self.space();
        Ok(key)
    }
}

impl Quoted<'_> {
    /// Appends the text that the string stands for.
    #[inline]
    pub(super) fn append_to(self, out: &mut Vec<u8>) {
        if self.escaped {
            self.append_unescaped(out);
        } else {
            out.extend_from_slice(self.raw);
        }
    }

    fn append_unescaped(self, out: &mut Vec<u8>) {
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            let (character, length) = escape_at(&rest[at..]).expect("escapes were checked when the string was read");
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[at + length..];
        }
        out.extend_from_slice(rest);
    }
}

/// The character of the escape sequence that `bytes` begins with, and the length of the sequence.
fn escape_at(bytes: &[u8]) -> Option<(char, usize)> {
    Some(match *bytes.get(1)? {
        b'"' => ('"', 2),
        b'\\' => ('\\', 2),
        b'/' => ('/', 2),
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'u' => {
            let first = hex(bytes.get(2..6)?)?;
            match char::from_u32(first) {
                Some(character) => (character, 6),
                None => (surrogate_pair(first, bytes.get(6..12)?)?, 12),
            }
        }
        _ => return None,
    })
}

fn surrogate_pair(high: u32, bytes: &[u8]) -> Option<char> {
    let low = hex(bytes.strip_prefix(b"\\u")?)?;
    if !(0xD800..0xDC00).contains(&high) || !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// How many bytes stand before the first quote, backslash or control character.
#[inline]
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let hits = specials(chunk);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize;
        }
        at += LANES;
    }
    // The last bytes once more, with plain ones before them.
    if let Some(chunk) = bytes.last_chunk() {
        let hits = specials(chunk);
        return bytes.len() - if hits == 0 { 0 } else { LANES - hits.trailing_zeros() as usize };
    }
    bytes.iter().position(|byte| is_special(*byte)).unwrap_or(bytes.len())
}

/// Bytes that are looked at together.
const LANES: usize = 16;

/// Ends a run of plain bytes of a string.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

/// A bit for each byte that is special, the lowest for the first.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn specials(bytes: &[u8; LANES]) -> u32 {
    use std::arch::x86_64::{
        _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    };
    let both = u128::from_le_bytes(*bytes);
    // SAFETY: the instructions are of SSE2, which every x86-64 processor has; they take and give values alone.
    unsafe {
        let bytes = _mm_set_epi64x((both >> 64) as i64, both as i64);
        let quotes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'"' as i8));
        let backslashes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\\' as i8));
        // Unsigned, for which there is no comparison.
        let controls = _mm_cmpeq_epi8(bytes, _mm_min_epu8(bytes, _mm_set1_epi8(0x1F)));
        _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quotes, backslashes), controls)) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn specials(bytes: &[u8; LANES]) -> u32 {
    (0..LANES).map(|place| u32::from(is_special(bytes[place])) << place).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_length_agrees_with_a_search_byte_by_byte() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n', b'a', b' ', 0x7f, 0x80, 0xff, b'!', b'#', b'['] {
            for length in 0..70 {
                for at in 0..length {
                    let mut bytes = vec![b'x'; length];
                    bytes[at] = special;
                    let expected = bytes.iter().position(|byte| is_special(*byte)).unwrap_or(length);
                    assert_eq!(plain_length(&bytes), expected, "{special:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn values_are_skipped_exactly_when_serde_json_takes_them() {
        let texts = [
            "null",
            "true",
            "false",
            "nul",
            "1",
            "-",
            "-0",
            "01",
            "1.",
            "\"\"",
            "\"a\\\"b\"",
            "\"\\u12\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud83d\"",
            "\"\\ude00\\ud83d\"",
            "\"\\x\"",
            "[]",
            "[1,2]",
            "[1,]",
            "[,]",
            "[1 2]",
            "{}",
            "{\"a\":1}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{1:2}",
            "[{]}",
            "[[[]]]",
            "[",
            "]",
            "{\"a\":[{\"b\":[]},{}],\"c\":null}",
            "\"\t\"",
            "[ 1 , 2 ]",
            "{ \"a\" : [ ] }",
            "",
            "NaN",
            "\"unterminated",
        ];
        for text in texts {
            let mut cursor = Cursor::new(text.as_bytes());
            let found = cursor.skip(&mut Nesting::default()).is_ok() && cursor.at == text.len();
            assert_eq!(found, serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn nesting_of_any_depth_is_skipped() {
        const DEPTH: usize = 100_000;
        let text = format!("{}{}", "[{\"a\":".repeat(DEPTH), "}]".repeat(DEPTH));
        assert!(Cursor::new(text.as_bytes()).skip(&mut Nesting::default()).is_err());
        let text = format!("{}1{}", "[{\"a\":".repeat(DEPTH), "}]".repeat(DEPTH));
        assert!(Cursor::new(text.as_bytes()).skip(&mut Nesting::default()).is_ok());
    }
}
