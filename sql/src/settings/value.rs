//! Values of options: durations, sizes and the rest, in Flink's notation.

use std::str::FromStr;
use std::time::Duration;

use super::ValueKind;

impl ValueKind {
    /// The value in its normal form, or what is wrong with it.
    pub(super) fn check(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        match self {
            Self::Text => Ok(text.to_string()),
            Self::Bool => match text.to_ascii_lowercase().as_str() {
                value @ ("true" | "false") => Ok(value.to_string()),
                _ => Err("expected `true` or `false`".to_string()),
            },
            Self::Integer { min, max } => match text.parse::<u64>() {
                Ok(number) if (*min..=*max).contains(&number) => Ok(number.to_string()),
                _ => Err(format!("expected a whole number from {min} to {max}")),
            },
            Self::Float { min } => match text.parse::<f64>() {
                Ok(number) if number.is_finite() && number >= *min => Ok(text.to_string()),
                _ => Err(format!("expected a number of at least {min}")),
            },
            Self::Duration => parse_duration(text).map(|_| text.to_string()),
            Self::Size => parse_size(text).map(|_| text.to_string()),
            Self::TimeZone => time_zone(text),
            Self::Choice(choices) => choice(text, choices),
        }
    }
}

fn choice(text: &str, choices: &[&str]) -> Result<String, String> {
    match choices.iter().find(|choice| choice.eq_ignore_ascii_case(text)) {
        Some(choice) => Ok(choice.to_string()),
        None => Err(format!("expected one of {}", choices.join(", "))),
    }
}

fn time_zone(text: &str) -> Result<String, String> {
    if let Ok(zone) = chrono_tz::Tz::from_str(text) {
        return Ok(zone.name().to_string());
    }
    match text.to_ascii_uppercase().as_str() {
        "DEFAULT" | "Z" => Ok("UTC".to_string()),
        _ => Err("expected the name of a time zone, such as `UTC` or `Europe/Berlin`".to_string()),
    }
}

/// `10 s`, `1min`, `1 h 30 min`, `500 ms`, `7 days`; a bare number is milliseconds, as in Flink.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let problem = || "expected a duration such as `500 ms`, `10 s`, `5 min`, `1 h` or `7 d`".to_string();
    let mut rest = text.trim();
    let mut total_ns: u128 = 0;
    if rest.is_empty() {
        return Err(problem());
    }
    while !rest.is_empty() {
        let (number, behind) = leading_number(rest).ok_or_else(problem)?;
        let behind = behind.trim_start();
        let unit_length = behind.find(|c: char| !c.is_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit_length);
        let unit_ns = nanoseconds(unit).ok_or_else(problem)?;
        total_ns = total_ns.saturating_add(u128::from(number) * unit_ns);
        rest = behind.trim_start();
    }
    match u64::try_from(total_ns / 1_000_000) {
        Ok(ms) if i64::try_from(ms).is_ok() => Ok(Duration::new(ms / 1000, (total_ns % 1_000_000_000) as u32)),
        _ => Err("the duration is too long".to_string()),
    }
}

fn nanoseconds(unit: &str) -> Option<u128> {
    let nanoseconds = match unit.to_ascii_lowercase().as_str() {
        "ns" | "nano" | "nanos" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "micro" | "micros" | "microsecond" | "microseconds" => 1_000,
        "" | "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * 1_000_000_000,
        "h" | "hour" | "hours" => 3_600 * 1_000_000_000,
        "d" | "day" | "days" => 86_400 * 1_000_000_000,
        _ => return None,
    };
    Some(nanoseconds)
}

/// `64mb`, `1 gb`, `512 kb`, `4096`; units are powers of 1024, as in Flink. In bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let problem = || "expected a size such as `64 mb`, `512 kb` or `2 gb`".to_string();
    let (number, unit) = leading_number(text.trim()).ok_or_else(problem)?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => 0,
        "k" | "kb" | "kib" | "kibibytes" => 10,
        "m" | "mb" | "mib" | "mebibytes" => 20,
        "g" | "gb" | "gib" | "gibibytes" => 30,
        "t" | "tb" | "tib" | "tebibytes" => 40,
        _ => return Err(problem()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "the size is too large".to_string())
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in
            [("10 s", 10_000), ("1min", 60_000), ("1 h 30 min", 5_400_000), ("250", 250), ("7 days", 604_800_000)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for text in ["", "s", "10 parsecs", "-1 s", "1.5 s", "99999999999999999999 d", "99999999999999999 d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("64mb", 64 << 20), ("1 gb", 1 << 30), ("4096", 4096), ("2 kib", 2048)] {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
        }
        for text in ["", "mb", "1 foo", "99999999999999 tb"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
