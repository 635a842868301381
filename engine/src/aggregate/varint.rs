//! Numbers in as few bytes as they need, for the states of aggregates.

pub(super) fn write_count(count: i64, out: &mut Vec<u8>) {
    write_number(zigzag(count), out);
}

pub(super) fn read_count(bytes: &mut &[u8]) -> Option<i64> {
    Some(unzigzag(read_number(bytes)?))
}

pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Seven bits per byte, lowest first; the high bit says that more follow.
pub(super) fn write_number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for value in [0, 1, -1, 63, 64, -65, 1 << 40, i64::MAX, i64::MIN] {
            let mut bytes = Vec::new();
            write_number(zigzag(value), &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!(read_number(&mut rest).map(unzigzag), Some(value));
            assert!(rest.is_empty());
        }
        assert_eq!(read_number(&mut &[0x80u8; 3][..]), None);
    }
}
