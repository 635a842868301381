//! A partition as one entry of state.
//!
//! Its value is the wall time of the last row, then for each different row: how many there are, the length of the sort bytes, that of
//! all bytes, and these: sort bytes, row bytes. Rows are in order.

use super::partition::{Entry, Partition};
use crate::operators::note::{NoteReader, NoteWriter, from_sortable, sortable};
use crate::{EngineError, Result};

/// Writes into `value`, which is overwritten.
pub fn pack(partition: &Partition, value: &mut Vec<u8>) {
    value.clear();
    value.extend_from_slice(&sortable(partition.used_at_ms));
    for entry in &partition.entries {
        let mut numbers = NoteWriter::behind(std::mem::take(value));
        numbers.push(i64::from(entry.count));
        numbers.push(i64::from(entry.sort_length()));
        numbers.push(entry.bytes().len() as i64);
        *value = numbers.finish();
        value.extend_from_slice(entry.bytes());
    }
}

/// The partition that [`pack`] wrote.
pub fn unpack(value: &[u8]) -> Result<Partition> {
    let (used_at, mut rest) = value.split_first_chunk().ok_or_else(damaged)?;
    let mut entries = Vec::new();
    while !rest.is_empty() {
        let mut numbers = NoteReader::new(rest);
        let mut number = || numbers.read().and_then(|number| u32::try_from(number).map_err(|_| damaged()));
        let (count, sort_length, length) = (number()?, number()?, number()?);
        let (bytes, behind) = numbers.rest().split_at_checked(length as usize).ok_or_else(damaged)?;
        if sort_length > length {
            return Err(damaged());
        }
        entries.push(Entry::kept(bytes, sort_length, count));
        rest = behind;
    }
    let mut partition = Partition::with_entries(entries, true);
    partition.used_at_ms = from_sortable(*used_at);
    Ok(partition)
}

/// When the partition had its last row, in milliseconds.
pub fn used_at_ms(value: &[u8]) -> Result<i64> {
    value.first_chunk().map(|used_at| from_sortable(*used_at)).ok_or_else(damaged)
}

fn damaged() -> EngineError {
    EngineError::State("a partition of a Top-N is damaged".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_comes_back_and_damage_is_an_error() {
        let long = b"3 long enough for a length of two bytes".repeat(9);
        let rows = [(&b"1a"[..], 1, 3), (b"2", 1, 1), (&long, 0, 1)];
        let entries = rows.map(|(bytes, sort_length, count)| Entry::kept(bytes, sort_length, count));
        let mut partition = Partition::with_entries(entries.into(), true);
        partition.used_at_ms = -7;
        let mut value = b"what was there before".to_vec();
        pack(&partition, &mut value);
        let found = unpack(&value).unwrap();
        let row =
            |entry: &Entry| (entry.bytes().to_vec(), entry.sort_length(), entry.count, entry.before, entry.stored);
        let expected = rows.map(|(bytes, sort_length, count)| (bytes.to_vec(), sort_length, count, count, 0));
        assert_eq!(found.entries.iter().map(row).collect::<Vec<_>>(), expected);
        assert!(found.complete && found.size_bytes == partition.size_bytes);
        assert_eq!((found.used_at_ms, used_at_ms(&value).unwrap()), (-7, -7));
        for length in [0, 7, 9, 12, value.len() - 1] {
            assert!(unpack(&value[..length]).is_err(), "{length} bytes");
        }
        assert!(used_at_ms(&value[..7]).is_err());
    }
}
