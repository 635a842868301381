//! Java's date patterns (`yyyy-MM-dd HH:mm:ss`), which Flink's time functions take: formatting and parsing.

use std::fmt::Write;

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};

/// A pattern, taken apart once per call.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    fields: Vec<Field>,
}

#[derive(Debug, Clone, PartialEq)]
enum Field {
    Literal(String),
    Year {
        two_digits: bool,
    },
    Month {
        width: usize,
    },
    MonthName {
        full: bool,
    },
    Day {
        width: usize,
    },
    DayOfYear {
        width: usize,
    },
    WeekdayName {
        full: bool,
    },
    Hour {
        width: usize,
    },
    /// 1 to 12, beside a half of the day.
    HalfHour {
        width: usize,
    },
    HalfDay,
    Minute {
        width: usize,
    },
    Second {
        width: usize,
    },
    Fraction {
        digits: usize,
    },
}

impl Pattern {
    /// The error names the letter that is not known.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut fields = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                fields.push(Field::Literal(quoted(&mut chars)));
            } else if c.is_ascii_alphabetic() {
                let mut width = 1;
                while chars.next_if_eq(&c).is_some() {
                    width += 1;
                }
                fields.push(
                    field(c, width).ok_or_else(|| format!("'{c}' is not a letter of a date pattern ('{text}')"))?,
                );
            } else {
                fields.push(Field::Literal(c.to_string()));
            }
        }
        Ok(Self { fields })
    }

    pub fn format(&self, time: NaiveDateTime) -> String {
        let mut out = String::new();
        for field in &self.fields {
            // Writing to a String cannot fail.
            let _ = field.write(&mut out, time);
        }
        out
    }

    /// Seconds over which the text stays the same: those of the finest field. `None` where a fraction of them is shown.
    pub fn period_seconds(&self) -> Option<i64> {
        let period = |field: &Field| match field {
            Field::Fraction { .. } => None,
            Field::Second { .. } => Some(1),
            Field::Minute { .. } => Some(60),
            Field::Hour { .. } | Field::HalfHour { .. } | Field::HalfDay => Some(60 * 60),
            _ => Some(24 * 60 * 60),
        };
        self.fields.iter().map(period).try_fold(24 * 60 * 60, |finest, period| Some(finest.min(period?)))
    }

    /// `None` when the text does not match to its end. Missing fields are those of 1970-01-01 00:00:00.
    pub fn parse(&self, text: &str) -> Option<NaiveDateTime> {
        let mut parts = Parts::default();
        let mut rest = text.trim();
        for (index, field) in self.fields.iter().enumerate() {
            let next_is_digits = self.fields.get(index + 1).is_some_and(Field::is_digits);
            rest = field.read(rest, &mut parts, next_is_digits)?;
        }
        if rest.is_empty() { parts.time() } else { None }
    }
}

/// The rest of a quoted literal; two quotes stand for one.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut literal = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\'' if chars.next_if_eq(&'\'').is_some() => literal.push('\''),
            '\'' => break,
            _ => literal.push(c),
        }
    }
    if literal.is_empty() { "'".to_string() } else { literal }
}

fn field(letter: char, width: usize) -> Option<Field> {
    Some(match letter {
        'y' | 'u' | 'Y' => Field::Year { two_digits: width == 2 },
        'M' | 'L' if width >= 3 => Field::MonthName { full: width > 3 },
        'M' | 'L' => Field::Month { width },
        'd' => Field::Day { width },
        'D' => Field::DayOfYear { width },
        'E' => Field::WeekdayName { full: width > 3 },
        'H' => Field::Hour { width },
        'h' => Field::HalfHour { width },
        'a' => Field::HalfDay,
        'm' => Field::Minute { width },
        's' => Field::Second { width },
        'S' | 'n' => Field::Fraction { digits: width.min(9) },
        _ => return None,
    })
}

impl Field {
    fn is_digits(&self) -> bool {
        !matches!(self, Field::Literal(_) | Field::MonthName { .. } | Field::WeekdayName { .. } | Field::HalfDay)
    }

    fn write(&self, out: &mut String, time: NaiveDateTime) -> std::fmt::Result {
        match self {
            Self::Literal(text) => out.write_str(text),
            Self::Year { two_digits: true } => write!(out, "{:02}", time.year().rem_euclid(100)),
            Self::Year { .. } => write!(out, "{:04}", time.year()),
            Self::Month { width } => write!(out, "{:01$}", time.month(), width),
            Self::MonthName { full } => write!(out, "{}", time.format(if *full { "%B" } else { "%b" })),
            Self::Day { width } => write!(out, "{:01$}", time.day(), width),
            Self::DayOfYear { width } => write!(out, "{:01$}", time.ordinal(), width),
            Self::WeekdayName { full } => write!(out, "{}", time.format(if *full { "%A" } else { "%a" })),
            Self::Hour { width } => write!(out, "{:01$}", time.hour(), width),
            Self::HalfHour { width } => write!(out, "{:01$}", time.hour12().1, width),
            Self::HalfDay => out.write_str(if time.hour() < 12 { "AM" } else { "PM" }),
            Self::Minute { width } => write!(out, "{:01$}", time.minute(), width),
            Self::Second { width } => write!(out, "{:01$}", time.second(), width),
            Self::Fraction { digits } => out.write_str(&format!("{:09}", time.nanosecond() % 1_000_000_000)[..*digits]),
        }
    }

    fn read<'a>(&self, text: &'a str, parts: &mut Parts, next_is_digits: bool) -> Option<&'a str> {
        let (width, max) = (self.width(), self.digits_max());
        if let Self::Literal(literal) = self {
            return text.strip_prefix(literal.as_str());
        }
        if !self.is_digits() {
            return self.read_name(text, parts);
        }
        let max = if next_is_digits { width } else { max };
        let digits = text.bytes().take(max).take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let (number, rest) = text.split_at(digits);
        parts.set(self, number.parse().ok()?, digits);
        Some(rest)
    }

    fn width(&self) -> usize {
        match self {
            Self::Year { two_digits } => {
                if *two_digits {
                    2
                } else {
                    4
                }
            }
            Self::Month { width } | Self::Day { width } | Self::Hour { width } | Self::HalfHour { width } => *width,
            Self::DayOfYear { width } | Self::Minute { width } | Self::Second { width } => *width,
            Self::Fraction { digits } => *digits,
            _ => 0,
        }
    }

    fn digits_max(&self) -> usize {
        match self {
            Self::Year { two_digits: false } => 4,
            Self::DayOfYear { .. } => 3,
            Self::Fraction { .. } => 9,
            _ => 2,
        }
    }

    fn read_name<'a>(&self, text: &'a str, parts: &mut Parts) -> Option<&'a str> {
        let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (name, rest) = text.split_at(letters);
        match self {
            Self::MonthName { .. } => parts.month = Some(name.parse::<chrono::Month>().ok()?.number_from_month()),
            Self::WeekdayName { .. } => drop(name.parse::<chrono::Weekday>().ok()?),
            _ if name.eq_ignore_ascii_case("AM") => parts.afternoon = Some(false),
            _ if name.eq_ignore_ascii_case("PM") => parts.afternoon = Some(true),
            _ => return None,
        }
        Some(rest)
    }
}

/// What was read so far.
#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    half_hour: Option<u32>,
    afternoon: Option<bool>,
    minute: Option<u32>,
    second: Option<u32>,
    nanosecond: Option<u32>,
}

impl Parts {
    fn set(&mut self, field: &Field, number: u32, digits: usize) {
        match field {
            Field::Year { two_digits } => self.year = Some(number as i32 + if *two_digits { 2000 } else { 0 }),
            Field::Month { .. } => self.month = Some(number),
            Field::Day { .. } => self.day = Some(number),
            Field::DayOfYear { .. } => self.day_of_year = Some(number),
            Field::Hour { .. } => self.hour = Some(number),
            Field::HalfHour { .. } => self.half_hour = Some(number % 12),
            Field::Minute { .. } => self.minute = Some(number),
            Field::Second { .. } => self.second = Some(number),
            _ => self.nanosecond = Some(number * 10u32.pow(9 - digits as u32)),
        }
    }

    fn time(&self) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let afternoon = if self.afternoon == Some(true) { 12 } else { 0 };
        let hour = self.hour.or(self.half_hour.map(|hour| hour + afternoon)).unwrap_or(0);
        let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
        Some(date.and_time(NaiveTime::from_hms_nano_opt(hour, minute, second, self.nanosecond.unwrap_or(0))?))
    }
}

/// A timestamp as SQL writes it: date, or date and time with up to nine digits of a fraction; `T` may stand between.
pub(super) fn parse_sql(text: &str) -> Option<NaiveDateTime> {
    let text = text.trim();
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(date.and_time(NaiveTime::MIN));
    }
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|f| NaiveDateTime::parse_from_str(text, f).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_format_and_parse_back() {
        let time = parse_sql("2024-02-29 13:04:05.678").expect("a time");
        for (pattern, text, round_trip) in [
            ("yyyy-MM-dd HH:mm:ss", "2024-02-29 13:04:05", false),
            ("yyyy-MM-dd'T'HH:mm:ss.SSS", "2024-02-29T13:04:05.678", true),
            ("yyyyMMddHHmmssSSS", "20240229130405678", true),
            ("d.M.yy h:mm a", "29.2.24 1:04 PM", false),
            ("EEE, dd MMM yyyy", "Thu, 29 Feb 2024", false),
            ("yyyy-DDD", "2024-060", false),
        ] {
            let compiled = Pattern::new(pattern).expect(pattern);
            assert_eq!(compiled.format(time), text, "{pattern}");
            let parsed = compiled.parse(text).expect(text);
            assert_eq!(compiled.format(parsed), text, "{pattern}");
            assert!(!round_trip || parsed == time, "{pattern}");
        }
        assert!(Pattern::new("yyyy-QQ").is_err());
        assert_eq!(Pattern::new("yyyy-MM-dd").expect("known").parse("2024-02-30"), None);
        assert_eq!(Pattern::new("yyyy-MM-dd").expect("known").parse("2024-02-03x"), None);
    }
}
