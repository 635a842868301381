//! How option values are written: numbers, `10 s`, `128 MB`, `true`. Pure; `None` means that the text is not one.

use std::time::Duration;

/// Units of durations, as Flink writes them, with their length in nanoseconds.
const DURATION_UNITS: &[(&[&str], u64)] = &[
    (&["d", "day", "days"], 86_400_000_000_000),
    (&["h", "hour", "hours"], 3_600_000_000_000),
    (&["m", "min", "minute", "minutes"], 60_000_000_000),
    (&["s", "sec", "secs", "second", "seconds"], 1_000_000_000),
    (&["ms", "milli", "millis", "millisecond", "milliseconds", ""], 1_000_000),
    (&["us", "µs", "micro", "micros", "microsecond", "microseconds"], 1_000),
    (&["ns", "nano", "nanos", "nanosecond", "nanoseconds"], 1),
];

/// Units of sizes, as Flink writes them (powers of 1024).
const SIZE_UNITS: &[(&[&str], u64)] = &[
    (&["b", "byte", "bytes", ""], 1),
    (&["k", "kb", "kib", "kibibyte", "kibibytes"], 1 << 10),
    (&["m", "mb", "mib", "mebibyte", "mebibytes"], 1 << 20),
    (&["g", "gb", "gib", "gibibyte", "gibibytes"], 1 << 30),
    (&["t", "tb", "tib", "tebibyte", "tebibytes"], 1 << 40),
];

pub fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

pub fn integer(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

/// A share between 0 and 1.
pub fn fraction(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|value| (0.0..=1.0).contains(value))
}

/// `10 s`, `500ms`, `1 h`; a bare number counts milliseconds, as in Flink.
pub fn duration(text: &str) -> Option<Duration> {
    with_unit(text, DURATION_UNITS).map(Duration::from_nanos)
}

/// Bytes: `128MB`, `1 gb`; a bare number counts bytes.
pub fn size(text: &str) -> Option<u64> {
    with_unit(text, SIZE_UNITS)
}

fn with_unit(text: &str, units: &[(&[&str], u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = text[digits..].trim().to_lowercase();
    let (_, factor) = units.iter().find(|(names, _)| names.contains(&unit.as_str()))?;
    number.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_as_in_flink() {
        for (text, ms) in [("10 s", 10_000), ("500ms", 500), ("1 min", 60_000), ("2H", 7_200_000), ("30", 30)] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for (text, bytes) in [("128MB", 128 << 20), ("1 kb", 1024), ("17", 17), ("2g", 2 << 30)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "s", "-1 s", "1.5 h", "1 parsec", "99999999999999999999", "9999999999999 d"] {
            assert_eq!(duration(text), None, "{text}");
            assert_eq!(size(text), None, "{text}");
        }
    }
}
