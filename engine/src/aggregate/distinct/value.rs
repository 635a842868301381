//! What sets of DISTINCT are made of: a value, and what is counted of it; and both as bytes.

use std::cmp::Ordering;

use xxhash_rust::xxh3::xxh3_64;

use crate::aggregate::varint::{read_count, read_number, unzigzag, write_count, write_number, zigzag};

/// A value as it is kept.
pub(super) trait Key: Send + 'static {
    /// A value as it is looked up.
    type Ref<'a>: Copy;

    fn hash(key: Self::Ref<'_>) -> u64;
    fn own(key: Self::Ref<'_>) -> Self;
    fn borrow(&self) -> Self::Ref<'_>;
    fn order(&self, key: Self::Ref<'_>) -> Ordering;
    fn heap_bytes(&self) -> usize;
    /// Writes a value behind another one of the same list.
    fn write(&self, before: Option<&Self>, out: &mut Vec<u8>);
    /// Reads what `write` wrote; `None` where it is damaged.
    fn read<'a>(before: Option<Self::Ref<'a>>, bytes: &mut &'a [u8]) -> Option<Self::Ref<'a>>;
    /// The value's bytes as the key of an entry of state.
    fn entry_key(key: Self::Ref<'_>) -> Vec<u8>;

    #[inline(always)]
    fn same(&self, key: Self::Ref<'_>) -> bool {
        self.order(key) == Ordering::Equal
    }
}

impl Key for u64 {
    type Ref<'a> = u64;

    /// The folded product of a multiplication: spreads neighbours well and costs two instructions.
    #[inline(always)]
    fn hash(key: u64) -> u64 {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(key ^ 0x5851_f42d_4c95_7f2d) * u128::from(ODD);
        (product >> 64) as u64 ^ product as u64
    }

    fn own(key: u64) -> u64 {
        key
    }

    #[inline(always)]
    fn borrow(&self) -> u64 {
        *self
    }

    #[inline(always)]
    fn order(&self, key: u64) -> Ordering {
        self.cmp(&key)
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    /// The difference to the one before: short where values are near each other.
    fn write(&self, before: Option<&u64>, out: &mut Vec<u8>) {
        let difference = self.wrapping_sub(before.copied().unwrap_or_default());
        write_number(zigzag(difference as i64), out);
    }

    fn read(before: Option<u64>, bytes: &mut &[u8]) -> Option<u64> {
        let difference = unzigzag(read_number(bytes)?) as u64;
        Some(before.unwrap_or_default().wrapping_add(difference))
    }

    fn entry_key(key: u64) -> Vec<u8> {
        key.to_be_bytes().to_vec()
    }
}

impl Key for Box<[u8]> {
    type Ref<'a> = &'a [u8];

    #[inline(always)]
    fn hash(key: &[u8]) -> u64 {
        xxh3_64(key)
    }

    fn own(key: &[u8]) -> Self {
        key.into()
    }

    #[inline(always)]
    fn borrow(&self) -> &[u8] {
        self
    }

    #[inline(always)]
    fn order(&self, key: &[u8]) -> Ordering {
        (**self).cmp(key)
    }

    #[inline(always)]
    fn same(&self, key: &[u8]) -> bool {
        **self == *key
    }

    fn heap_bytes(&self) -> usize {
        self.len()
    }

    fn write(&self, _before: Option<&Self>, out: &mut Vec<u8>) {
        write_number(self.len() as u64, out);
        out.extend_from_slice(self);
    }

    fn read<'a>(_before: Option<&'a [u8]>, bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(read_number(bytes)?).ok()?;
        let (head, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(head)
    }

    fn entry_key(key: &[u8]) -> Vec<u8> {
        key.to_vec()
    }
}

/// The uses of a set, one bit each.
pub(super) type Uses = u8;

/// For which uses a value came, and for which it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub appeared: Uses,
    pub vanished: Uses,
}

/// How often a value was added, for each use of the set. The default is a value that was never added.
pub(super) trait Tally: Copy + Default + PartialEq + Send + 'static {
    /// How many uses one set can have.
    const USES_MAX: usize;

    /// Adds `delta` for these uses.
    fn add(&mut self, uses: Uses, delta: i64) -> Change;
    fn merge(&mut self, other: Self) -> Change;
    fn write(self, out: &mut Vec<u8>);
    fn read(bytes: &mut &[u8]) -> Option<Self>;

    /// True where there is nothing to keep.
    #[inline(always)]
    fn is_dead(self) -> bool {
        self == Self::default()
    }
}

/// Rows are only added: for which uses the value is there is all that must be known.
impl Tally for Uses {
    const USES_MAX: usize = Uses::BITS as usize;

    #[inline(always)]
    fn add(&mut self, uses: Uses, delta: i64) -> Change {
        if delta > 0 {
            return self.merge(uses);
        }
        let vanished = *self & uses;
        *self &= !uses;
        Change { appeared: 0, vanished }
    }

    #[inline(always)]
    fn merge(&mut self, other: Uses) -> Change {
        let appeared = other & !*self;
        *self |= other;
        Change { appeared, vanished: 0 }
    }

    fn write(self, out: &mut Vec<u8>) {
        out.push(self);
    }

    fn read(bytes: &mut &[u8]) -> Option<Uses> {
        let (uses, rest) = bytes.split_first()?;
        *bytes = rest;
        Some(*uses)
    }
}

/// The count of one use. It can be below zero where a value was taken back before it came.
impl Tally for i64 {
    const USES_MAX: usize = 1;

    #[inline(always)]
    fn add(&mut self, _uses: Uses, delta: i64) -> Change {
        let before = *self;
        *self += delta;
        match (before > 0, *self > 0) {
            (false, true) => Change { appeared: 1, vanished: 0 },
            (true, false) => Change { appeared: 0, vanished: 1 },
            _ => Change::default(),
        }
    }

    #[inline(always)]
    fn merge(&mut self, other: i64) -> Change {
        self.add(1, other)
    }

    fn write(self, out: &mut Vec<u8>) {
        write_count(self, out);
    }

    fn read(bytes: &mut &[u8]) -> Option<i64> {
        read_count(bytes)
    }
}

/// Writes values and what is counted of them, one after the other.
pub(super) fn write_entries<'a, K: Key, T: Tally>(entries: impl Iterator<Item = (&'a K, T)>, out: &mut Vec<u8>) {
    let mut before = None;
    for (key, tally) in entries {
        key.write(before, out);
        tally.write(out);
        before = Some(key);
    }
}

/// Visits what [`write_entries`] wrote; `None` where it is damaged.
pub(super) fn read_entries<'a, K: Key, T: Tally>(
    mut bytes: &'a [u8],
    mut visit: impl FnMut(K::Ref<'a>, T),
) -> Option<()> {
    let mut before = None;
    while !bytes.is_empty() {
        let key = K::read(before, &mut bytes)?;
        visit(key, T::read(&mut bytes)?);
        before = Some(key);
    }
    Some(())
}
