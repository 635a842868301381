//! Numbers as short texts: three digits or so, and a unit.

const THOUSANDS: [&str; 5] = ["", "k", "M", "G", "T"];
const BYTES: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];

/// `0`, `7.5`, `123`, `1.2k`.
pub fn count(number: f64) -> String {
    scaled(number, &THOUSANDS)
}

/// `12B`, `1.5MB`.
pub fn size(bytes: u64) -> String {
    scaled(bytes as f64, &BYTES)
}

fn scaled(number: f64, units: &[&str]) -> String {
    let mut number = number.max(0.0);
    let mut unit = 0;
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1_000.0;
        unit += 1;
    }
    let is_whole = number >= 99.95 || (number * 10.0).round() % 10.0 == 0.0;
    let digits = if is_whole { format!("{number:.0}") } else { format!("{number:.1}") };
    format!("{digits}{}", units[unit])
}

/// `15ms`, `2.5s`, `3m10s`, `2h5m`, `4d3h`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1_000;
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..10_000 => format!("{}.{}s", seconds, ms % 1_000 / 100),
        10_000..60_000 => format!("{seconds}s"),
        60_000..3_600_000 => format!("{}m{}s", seconds / 60, seconds % 60),
        3_600_000..86_400_000 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// As [`duration`], of microseconds.
pub fn latency(us: u64) -> String {
    match us {
        0..1_000 => format!("{us}us"),
        1_000..100_000 => format!("{}.{}ms", us / 1_000, us % 1_000 / 100),
        _ => duration(us / 1_000),
    }
}

/// Filled up to `share` of 1,000: `||||      `.
pub fn bar(share: u64, width: usize) -> String {
    let filled = (share.min(1_000) as usize * width).div_ceil(1_000);
    format!("{}{}", "|".repeat(filled), " ".repeat(width - filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let counts = [(0.0, "0"), (7.54, "7.5"), (99.96, "100"), (999.4, "999"), (999.9, "1k"), (1_234.0, "1.2k")];
        for (number, expected) in counts.into_iter().chain([(123_456.0, "123k"), (1.5e6, "1.5M"), (9e15, "9000T")]) {
            assert_eq!(count(number), expected);
        }
        assert_eq!([0, 999, 1_536, 3_200_000_000].map(size), ["0B", "999B", "1.5kB", "3.2GB"]);
        let durations = [15, 2_540, 59_999, 190_000, 7_500_000, 360_000_000].map(duration);
        assert_eq!(durations, ["15ms", "2.5s", "59s", "3m10s", "2h5m", "4d4h"]);
        assert_eq!([5, 1_250, 250_000].map(latency), ["5us", "1.2ms", "250ms"]);
        assert_eq!(
            (bar(0, 4), bar(1, 4), bar(500, 4), bar(1_100, 4)),
            ("    ".into(), "|   ".into(), "||  ".into(), "||||".into())
        );
    }
}
