//! Charsets of text values: names as Java has them, bytes to text and back. Pure.
//!
//! Only charsets that hold ASCII as it is: a value ends at the byte of a newline, whatever its charset.

use std::borrow::Cow;

use encoding_rs::{EncoderResult, Encoding};

/// Written for a character that the charset does not have, as Java does.
const UNKNOWN: u8 = b'?';

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Charset {
    #[default]
    Utf8,
    /// ISO-8859-1 as Java has it: each byte is the character of its number. (Browsers take it for windows-1252.)
    Latin1,
    Ascii,
    Other(&'static Encoding),
}

impl Charset {
    /// The error is what to write instead.
    pub fn of_name(name: &str) -> Result<Self, String> {
        match name.trim().to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => return Ok(Self::Utf8),
            "iso-8859-1" | "iso8859-1" | "iso_8859-1" | "iso8859_1" | "latin1" => return Ok(Self::Latin1),
            "us-ascii" | "ascii" => return Ok(Self::Ascii),
            _ => {}
        }
        match Encoding::for_label(name.trim().as_bytes()) {
            Some(encoding) if encoding.is_ascii_compatible() => Ok(Self::Other(encoding)),
            Some(encoding) => {
                let name = encoding.name();
                Err(format!(
                    "{name} is not possible: a value ends at the byte of a newline, which {name} also has within characters"
                ))
            }
            None => Err("write a name such as 'UTF-8', 'ISO-8859-1', 'windows-1252', 'GBK', 'Shift_JIS'".to_string()),
        }
    }

    /// Bytes that are no text in this charset become U+FFFD.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Self::Utf8 => String::from_utf8_lossy(bytes),
            Self::Latin1 => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().into(),
            Self::Ascii => bytes.iter().map(|byte| ascii(*byte)).collect::<String>().into(),
            Self::Other(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }

    /// Appends the bytes of `text`.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) {
        let byte =
            |c: char, limit: u32| u8::try_from(u32::from(c)).ok().filter(|b| u32::from(*b) < limit).unwrap_or(UNKNOWN);
        match self {
            Self::Utf8 => out.extend_from_slice(text.as_bytes()),
            Self::Latin1 => out.extend(text.chars().map(|c| byte(c, 256))),
            Self::Ascii => out.extend(text.chars().map(|c| byte(c, 128))),
            Self::Other(encoding) => encode_as(encoding, text, out),
        }
    }
}

fn ascii(byte: u8) -> char {
    if byte.is_ascii() { char::from(byte) } else { char::REPLACEMENT_CHARACTER }
}

fn encode_as(encoding: &'static Encoding, text: &str, out: &mut Vec<u8>) {
    let mut encoder = encoding.new_encoder();
    let mut rest = text;
    loop {
        let room = encoder.max_buffer_length_from_utf8_without_replacement(rest.len());
        let start = out.len();
        out.resize(start + room.expect("a text in memory has no such length"), 0);
        let (result, read, written) = encoder.encode_from_utf8_without_replacement(rest, &mut out[start..], true);
        out.truncate(start + written);
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return,
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => out.push(UNKNOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(name: &str, text: &str) -> Vec<u8> {
        let mut out = b"<".to_vec();
        Charset::of_name(name).expect("a charset").encode(text, &mut out);
        out.split_off(1)
    }

    #[test]
    fn texts_survive_in_a_charset_that_has_their_characters() {
        let texts = [
            ("UTF-8", "grün €"),
            ("ISO-8859-1", "grün \u{80}"),
            ("windows-1252", "grün €"),
            ("GBK", "你好, world"),
            ("Shift_JIS", "こんにちは"),
            ("EUC-KR", "안녕"),
            ("KOI8-R", "привет"),
            ("GB18030", "你好 \u{1F600}"),
        ];
        for (name, text) in texts {
            let charset = Charset::of_name(name).expect("a charset");
            assert_eq!(charset.decode(&encoded(name, text)), text, "{name}");
        }
        assert_eq!(encoded("ISO-8859-1", "grün"), b"gr\xFCn");
        assert_eq!(encoded("gbk", "你"), b"\xC4\xE3");
    }

    #[test]
    fn what_a_charset_lacks_is_replaced_as_in_java() {
        assert_eq!(encoded("ISO-8859-1", "5 €"), b"5 ?");
        assert_eq!(encoded("US-ASCII", "grün"), b"gr?n");
        assert_eq!(encoded("windows-1252", "a你b"), b"a?b");
        assert_eq!(Charset::Ascii.decode(b"gr\xFCn"), "gr\u{FFFD}n");
        assert_eq!(Charset::of_name("GBK").expect("a charset").decode(b"a\xFF"), "a\u{FFFD}");
    }

    #[test]
    fn charsets_that_would_break_lines_are_refused() {
        for name in ["UTF-16", "UTF-16LE", "ISO-2022-JP"] {
            assert!(Charset::of_name(name).expect_err("refused").contains("newline"), "{name}");
        }
        assert!(Charset::of_name("utf-9").expect_err("unknown").contains("'UTF-8'"));
    }
}
