//! Checks a file for UTF-8 a stretch at a time, ahead of the records, so that the check of one record is mostly a
//! comparison.

use super::Block;

/// Bytes that are checked at once: enough for the check to run at full speed, few enough to be still in the cache when
/// they are decoded.
const CHECK_BYTES: usize = 32 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Utf8Check {
    /// File offset up to which everything since the last check is UTF-8.
    valid_to: u64,
}

impl Utf8Check {
    /// Whether `block.bytes[start..end]` is UTF-8. Ranges must come in the order of the file and begin and end where a
    /// character may.
    #[inline]
    pub(crate) fn accepts(&mut self, block: &Block<'_>, start: usize, end: usize) -> bool {
        block.offset + end as u64 <= self.valid_to || self.check(block, start, end)
    }

    fn check(&mut self, block: &Block<'_>, start: usize, end: usize) -> bool {
        let ahead = (start + CHECK_BYTES).clamp(end, block.bytes.len().max(end));
        let valid = match std::str::from_utf8(&block.bytes[start..ahead]) {
            Ok(_) => ahead,
            Err(error) => start + error.valid_up_to(),
        };
        self.valid_to = block.offset + valid as u64;
        end <= valid
    }
}
