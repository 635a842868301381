//! From the bytes that a terminal sends to keys.

/// A key, or a text that was pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    AltEnter,
    Tab,
    BackTab,
    Backspace,
    Delete,
    Left,
    Right,
    Up,
    Down,
    WordLeft,
    WordRight,
    Home,
    End,
    PageUp,
    PageDown,
    Escape,
    /// With the letter in lower case.
    Ctrl(char),
    Alt(char),
    Paste(String),
}

const ESCAPE: u8 = 0x1b;
const PASTE_BEGIN: &[u8] = b"\x1b[200~";
const PASTE_END: &[u8] = b"\x1b[201~";
/// A control sequence is never longer; what is, is noise.
const SEQUENCE_BYTES_MAX: usize = 32;

/// Keeps what is not a whole key yet.
#[derive(Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// The keys that are complete with these bytes.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Key> {
        self.pending.extend_from_slice(bytes);
        let mut keys = Vec::new();
        let mut at = 0;
        while at < self.pending.len() {
            let Some((key, length)) = next_key(&self.pending[at..]) else { break };
            keys.extend(key);
            at += length;
        }
        self.pending.drain(..at);
        keys
    }

    /// Nothing followed for a while: an escape that stands alone is the key. `sure`: the while was long enough.
    pub fn quiet(&mut self, sure: bool) -> Vec<Key> {
        if sure && self.pending == [ESCAPE] {
            self.pending.clear();
            return vec![Key::Escape];
        }
        Vec::new()
    }
}

/// A key and the bytes that it took; `None`: more bytes must come. No key: bytes that mean nothing here.
fn next_key(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    match bytes[0] {
        ESCAPE => after_escape(bytes),
        b'\r' | b'\n' => Some((Some(Key::Enter), 1)),
        b'\t' => Some((Some(Key::Tab), 1)),
        0x7f | 0x08 => Some((Some(Key::Backspace), 1)),
        byte @ 1..=26 => Some((Some(Key::Ctrl((byte - 1 + b'a') as char)), 1)),
        0..=31 => Some((None, 1)),
        byte => character(bytes, byte),
    }
}

fn character(bytes: &[u8], first: u8) -> Option<(Option<Key>, usize)> {
    let length = match first {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf7 => 4,
        _ => 1,
    };
    let text = bytes.get(..length)?;
    let key = std::str::from_utf8(text).ok().and_then(|text| text.chars().next()).map(Key::Char);
    Some((key, length))
}

fn after_escape(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    if bytes.starts_with(PASTE_BEGIN) {
        let end = bytes.windows(PASTE_END.len()).position(|window| window == PASTE_END)?;
        let text = String::from_utf8_lossy(&bytes[PASTE_BEGIN.len()..end]).replace("\r\n", "\n").replace('\r', "\n");
        return Some((Some(Key::Paste(text)), end + PASTE_END.len()));
    }
    match *bytes.get(1)? {
        b'[' | b'O' => sequence(bytes),
        b'\r' | b'\n' => Some((Some(Key::AltEnter), 2)),
        b'b' => Some((Some(Key::WordLeft), 2)),
        b'f' => Some((Some(Key::WordRight), 2)),
        0x7f => Some((Some(Key::Ctrl('w')), 2)),
        ESCAPE => Some((Some(Key::Escape), 1)),
        byte if byte.is_ascii_graphic() => Some((Some(Key::Alt(byte.to_ascii_lowercase() as char)), 2)),
        _ => Some((Some(Key::Escape), 1)),
    }
}

/// `ESC [ parameters final`, or `ESC O final`.
fn sequence(bytes: &[u8]) -> Option<(Option<Key>, usize)> {
    let rest = &bytes[2..];
    let end = rest.iter().position(|byte| (0x40..=0x7e).contains(byte));
    let Some(end) = end else {
        return if bytes.len() > SEQUENCE_BYTES_MAX { Some((None, bytes.len())) } else { None };
    };
    let parameters = &rest[..end];
    let with_word = parameters.ends_with(b";5") || parameters.ends_with(b";3");
    let key = match (rest[end], parameters) {
        (b'A', _) => Some(Key::Up),
        (b'B', _) => Some(Key::Down),
        (b'C', _) => Some(if with_word { Key::WordRight } else { Key::Right }),
        (b'D', _) => Some(if with_word { Key::WordLeft } else { Key::Left }),
        (b'H', _) | (b'~', b"1" | b"7") => Some(Key::Home),
        (b'F', _) | (b'~', b"4" | b"8") => Some(Key::End),
        (b'Z', _) => Some(Key::BackTab),
        (b'M', _) => Some(Key::Enter),
        (b'~', b"3") => Some(Key::Delete),
        (b'~', b"5") => Some(Key::PageUp),
        (b'~', b"6") => Some(Key::PageDown),
        _ => None,
    };
    Some((key, 2 + end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_whole_however_their_bytes_are_cut() {
        let bytes = "aé\x1b[A\x1b[1;5C\r\x1b\r\x03\x1b[3~\x1bOH\x1b[200~x\r\ny\x1b[201~日".as_bytes();
        let expected = vec![
            Key::Char('a'),
            Key::Char('é'),
            Key::Up,
            Key::WordRight,
            Key::Enter,
            Key::AltEnter,
            Key::Ctrl('c'),
            Key::Delete,
            Key::Home,
            Key::Paste("x\ny".into()),
            Key::Char('日'),
        ];
        for size in 1..=bytes.len() {
            let mut decoder = Decoder::default();
            let keys: Vec<Key> = bytes.chunks(size).flat_map(|chunk| decoder.feed(chunk)).collect();
            assert_eq!(keys, expected, "{size} bytes at a time");
        }
    }

    #[test]
    fn an_escape_alone_is_a_key_and_noise_is_none() {
        let mut decoder = Decoder::default();
        assert!(decoder.feed(b"\x1b").is_empty());
        assert_eq!(decoder.quiet(true), [Key::Escape]);
        assert_eq!(decoder.feed(b"\x1b[99;99Rx\xffy"), [Key::Char('x'), Key::Char('y')]);
    }
}
