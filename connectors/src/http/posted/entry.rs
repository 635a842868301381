//! What the log of posted rows is made of: an entry per request, which is whole or not there at all.

use xxhash_rust::xxh3::xxh3_64;

/// Begins every entry; a later form of it has another one.
const MAGIC: u32 = 0x3152_4d54;
/// Magic, length of the body, hash of the body.
const HEAD_BYTES: usize = 16;
/// Of the body, in front of key and text.
const FIXED_BYTES: usize = 42;
/// An entry is a request's rows: beyond this a length is damage.
const BODY_BYTES_MAX: usize = 1 << 30;

/// A place between two rows of the log: how many rows, and how many bytes of text, come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark {
    pub row: u64,
    pub byte: u64,
}

/// The rows of one request. Their text ends with a newline, so that texts can be read one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// In front of its first row.
    pub first: Mark,
    pub received_ms: i64,
    pub rows: u32,
    pub key: Option<String>,
    /// Of the body as it was posted, which a repetition must have too.
    pub body_hash: u64,
    pub text: Vec<u8>,
}

impl Entry {
    /// Behind its last row.
    pub fn end(&self) -> Mark {
        Mark { row: self.first.row + u64::from(self.rows), byte: self.first.byte + self.text.len() as u64 }
    }

    pub fn write(&self, out: &mut Vec<u8>) {
        let key = self.key.as_deref().unwrap_or_default().as_bytes();
        let length = FIXED_BYTES + key.len() + self.text.len();
        assert!(length <= BODY_BYTES_MAX, "requests are smaller");
        let start = out.len();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&(length as u32).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&self.first.row.to_le_bytes());
        out.extend_from_slice(&self.first.byte.to_le_bytes());
        out.extend_from_slice(&self.received_ms.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        out.extend_from_slice(&self.body_hash.to_le_bytes());
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(&u16::from(self.key.is_some()).to_le_bytes());
        out.extend_from_slice(key);
        out.extend_from_slice(&self.text);
        let hash = xxh3_64(&out[start + HEAD_BYTES..]);
        out[start + 8..start + HEAD_BYTES].copy_from_slice(&hash.to_le_bytes());
    }

    /// The entry at the beginning of `bytes`, and its length; `None` where there is no whole one.
    pub fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let length = Self::length(bytes)?;
        let body = bytes.get(HEAD_BYTES..length)?;
        if xxh3_64(body).to_le_bytes() != bytes[8..HEAD_BYTES] {
            return None;
        }
        let long = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let int = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let text_at = FIXED_BYTES + int(36)? as usize;
        let key = std::str::from_utf8(body.get(FIXED_BYTES..text_at)?).ok()?;
        let entry = Self {
            first: Mark { row: long(0)?, byte: long(8)? },
            received_ms: long(16)? as i64,
            rows: int(24)?,
            body_hash: long(28)?,
            key: (body[40] == 1).then(|| key.to_string()),
            text: body[text_at..].to_vec(),
        };
        Some((entry, length))
    }

    /// Of the entry that begins so, with its head; `None` where none begins so, or its head is not whole.
    pub fn length(bytes: &[u8]) -> Option<usize> {
        let magic = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?);
        let length = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
        let is_sound = magic == MAGIC && (FIXED_BYTES..=BODY_BYTES_MAX).contains(&length);
        is_sound.then_some(HEAD_BYTES + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written_or_not_at_all() {
        for key in [None, Some(String::new()), Some("k-1".to_string())] {
            let entry = Entry {
                first: Mark { row: 7, byte: 99 },
                received_ms: -5,
                rows: 2,
                key,
                body_hash: 42,
                text: b"{}\n{}\n".to_vec(),
            };
            let mut bytes = Vec::new();
            entry.write(&mut bytes);
            let length = bytes.len();
            entry.write(&mut bytes);
            assert_eq!(Entry::read(&bytes), Some((entry.clone(), length)));
            assert_eq!(entry.end(), Mark { row: 9, byte: 105 });
            for cut in 0..length {
                assert_eq!(Entry::read(&bytes[..cut]), None, "cut at {cut}");
                let mut damaged = bytes[..length].to_vec();
                damaged[cut] ^= 0x40;
                assert_eq!(Entry::read(&damaged), None, "damaged at {cut}");
            }
        }
    }
}
