//! Keys that begin with a frame: the length of a first part, then that part.
//!
//! Where all entries of one join key, say, stand below one frame, RocksDB can tell which files have any of them without
//! reading a block: it keeps a filter over frames.

use crate::keys::KeyGroup;

/// Bytes of a key group in front of a stored key.
const GROUP_BYTES: usize = 2;

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

/// The frame of a key's first part.
pub fn frame(part: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(part.len() + 1);
    push_frame(&mut frame, part);
    frame
}

/// Appends the frame of a key's first part.
pub fn push_frame(bytes: &mut Vec<u8>, part: &[u8]) {
    let mut rest = part.len();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes.extend_from_slice(part);
}

/// The first part of a key, and what follows it; `None` for bytes that do not begin with a frame.
pub fn unframe(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut length = 0;
    for (index, byte) in key.iter().enumerate().take(LENGTH_BYTES_MAX) {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return key[index + 1..].split_at_checked(length);
        }
    }
    None
}

/// Group and frame of a stored key.
pub(super) fn stored_frame(stored: &[u8]) -> Option<&[u8]> {
    let (_, rest) = unframe(stored.get(GROUP_BYTES..)?)?;
    Some(&stored[..stored.len() - rest.len()])
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
    /// `numbers` with the group and the first part of the keys of each.
    pub fn new<'a>(reads: impl Iterator<Item = (u32, KeyGroup, &'a [u8])>) -> Self {
        let mut all = Self::default();
        for (number, group, part) in reads {
            let start = all.bytes.len();
            all.bytes.extend_from_slice(&group.0.to_be_bytes());
            push_frame(&mut all.bytes, part);
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
            let key = [frame(&part), vec![7, 8]].concat();
            assert_eq!(unframe(&key), Some((&part[..], &[7, 8][..])), "{length}");
            let stored = [vec![0, 9], key.clone()].concat();
            assert_eq!(stored_frame(&stored).unwrap().len(), stored.len() - 2);
            assert_eq!(unframe(&key[..key.len() - 3]), None, "{length}");
        }
        assert_eq!((unframe(&[0xff; 9]), stored_frame(&[0]), stored_frame(&[0, 1])), (None, None, None));
    }

    #[test]
    fn no_frame_begins_another() {
        let parts: [&[u8]; 5] = [b"", b"a", b"ab", b"b", b"abc"];
        for one in parts {
            for other in parts.iter().filter(|other| **other != one) {
                assert!(!frame(other).starts_with(&frame(one)));
            }
        }
    }

    #[test]
    fn frames_are_read_in_the_order_of_keys() {
        let reads = [(0, KeyGroup(1), &b"a"[..]), (1, KeyGroup(0), b"bb"), (2, KeyGroup(0), b"b")];
        let reads = FramedReads::new(reads.into_iter());
        let order: Vec<_> = reads.iter().map(|(number, group, frame)| (number, group.0, frame.to_vec())).collect();
        assert_eq!(order, [(2, 0, frame(b"b")), (1, 0, frame(b"bb")), (0, 1, frame(b"a"))]);
    }
}
