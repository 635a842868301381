//! Keys that begin with a frame: a byte that says of what kind the entry is, the length of a first part, then that part.
//!
//! Where all entries of one join key and side, say, stand below one frame, RocksDB can tell which files have any of them
//! without reading a block: it keeps a filter over frames.

use crate::keys::KeyGroup;

/// Bytes of a key group in front of a stored key.
pub(super) const GROUP_BYTES: usize = 2;

/// Of the length of a first part: seven bits in each, and no key has 4 GB.
const LENGTH_BYTES_MAX: usize = 5;

/// How the keys of an operator's state are made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyShape {
    #[default]
    Plain,
    /// Each begins with a [`frame`] and is mostly read by it.
    Framed,
}

/// The frame of a kind and a key's first part.
pub fn frame(kind: u8, part: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(part.len() + 2);
    push_frame(&mut frame, kind, &[part]);
    frame
}

/// Appends the frame of a kind and a key's first part, which may be given in pieces.
pub fn push_frame(bytes: &mut Vec<u8>, kind: u8, part: &[&[u8]]) {
    bytes.push(kind);
    let mut rest = part.iter().map(|piece| piece.len()).sum::<usize>();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    part.iter().for_each(|piece| bytes.extend_from_slice(piece));
}

/// A key that begins with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramedKey<'a> {
    pub kind: u8,
    pub part: &'a [u8],
    /// What follows the frame.
    pub rest: &'a [u8],
}

/// Takes a key apart; `None` for bytes that do not begin with a frame.
pub fn unframe(key: &[u8]) -> Option<FramedKey<'_>> {
    let (kind, key) = key.split_first()?;
    let mut length = 0;
    for (index, byte) in key.iter().enumerate().take(LENGTH_BYTES_MAX) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let (part, rest) = key[index + 1..].split_at_checked(length)?;
            return Some(FramedKey { kind: *kind, part, rest });
        }
    }
    None
}

/// Group and frame of a stored key.
pub(super) fn stored_frame(stored: &[u8]) -> Option<&[u8]> {
    let key = unframe(stored.get(GROUP_BYTES..)?)?;
    Some(&stored[..stored.len() - key.rest.len()])
}

/// Frames that are to be read together, in the order of keys: neighbours share blocks.
#[derive(Default)]
pub struct FramedReads {
    /// Group and frame of each read, one after the other.
    bytes: Vec<u8>,
    reads: Vec<Read>,
}

struct Read {
    number: u32,
    start: usize,
    end: usize,
}

impl FramedReads {
    /// Frames of one kind: a number with the group and the first part of the keys of each.
    pub fn new<'a>(kind: u8, reads: impl Iterator<Item = (u32, KeyGroup, &'a [u8])>) -> Self {
        Self::below(kind, &[], reads)
    }

    /// The same where all first parts begin with `head`, which is not repeated.
    pub fn below<'a>(kind: u8, head: &[u8], reads: impl Iterator<Item = (u32, KeyGroup, &'a [u8])>) -> Self {
        let mut all = Self::default();
        for (number, group, part) in reads {
            let start = all.bytes.len();
            all.bytes.extend_from_slice(&group.0.to_be_bytes());
            push_frame(&mut all.bytes, kind, &[head, part]);
            all.reads.push(Read { number, start, end: all.bytes.len() });
        }
        let bytes = &all.bytes;
        all.reads.sort_unstable_by(|one, other| bytes[one.start..one.end].cmp(&bytes[other.start..other.end]));
        all
    }

    /// Number, group and frame of each.
    pub fn iter(&self) -> impl Iterator<Item = (u32, KeyGroup, &[u8])> {
        self.stored().map(|(number, stored)| {
            let (group, frame) = stored.split_first_chunk::<GROUP_BYTES>().expect("it was put there");
            (number, KeyGroup(u16::from_be_bytes(*group)), frame)
        })
    }

    /// Number and stored form (group and frame) of each.
    pub(super) fn stored(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.reads.iter().map(|read| (read.number, &self.bytes[read.start..read.end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_its_part_does() {
        for length in [0, 1, 127, 128, 129, 20_000] {
            let part = vec![0xff; length];
            let key = [frame(1, &part), vec![7, 8]].concat();
            assert_eq!(unframe(&key), Some(FramedKey { kind: 1, part: &part, rest: &[7, 8] }), "{length}");
            let stored = [vec![0, 9], key.clone()].concat();
            assert_eq!(stored_frame(&stored).unwrap().len(), stored.len() - 2);
            assert_eq!(unframe(&key[..key.len() - 3]), None, "{length}");
        }
        assert_eq!((unframe(&[0xff; 9]), unframe(&[]), unframe(&[0])), (None, None, None));
        assert_eq!((stored_frame(&[0]), stored_frame(&[0, 1])), (None, None));
    }

    #[test]
    fn no_frame_begins_another() {
        let parts: [&[u8]; 5] = [b"", b"a", b"ab", b"b", b"abc"];
        for one in parts {
            for other in parts.iter().filter(|other| **other != one) {
                assert!(!frame(0, other).starts_with(&frame(0, one)));
            }
            assert!(!frame(1, one).starts_with(&frame(0, one)));
        }
    }

    #[test]
    fn frames_are_read_in_the_order_of_keys() {
        let reads = [(0, KeyGroup(1), &b"a"[..]), (1, KeyGroup(0), b"bb"), (2, KeyGroup(0), b"b")];
        let reads = FramedReads::new(1, reads.into_iter());
        let order: Vec<_> = reads.iter().map(|(number, group, frame)| (number, group.0, frame.to_vec())).collect();
        assert_eq!(order, [(2, 0, frame(1, b"b")), (1, 0, frame(1, b"bb")), (0, 1, frame(1, b"a"))]);
    }
}
