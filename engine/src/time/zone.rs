//! Zones: between instants (epoch milliseconds) and the wall clock of a zone (milliseconds since 1970-01-01 00:00:00
//! on that clock). `None` as a zone means that times are already local.
//!
//! A wall clock goes back at a fold (the same local time comes twice) and jumps at a gap (a local time never comes).

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

/// Times beyond about 253,500 years from 1970 are taken as that bound: the calendar library ends at 262,143.
pub const TIME_MS_MAX: i64 = 8_000_000_000_000_000;

/// Offsets change at most once per block, and almost always between two blocks.
const BLOCK_MS: i64 = 15 * 60 * 1000;

/// No zone is ever further than this from UTC; a search for an instant needs to look no further.
const OFFSET_MS_MAX: i64 = 26 * 60 * 60 * 1000;

/// What the wall clock of `zone` shows at an instant.
pub fn to_local(zone: Option<Tz>, instant_ms: i64) -> i64 {
    match zone {
        None | Some(Tz::UTC) => instant_ms,
        Some(zone) => instant_ms.clamp(-TIME_MS_MAX, TIME_MS_MAX) + offset_ms(zone, instant_ms),
    }
}

/// Like [`to_local`] for many instants, which cost little where they are close together.
pub fn all_to_local(zone: Option<Tz>, instants_ms: &mut [i64]) {
    let Some(zone) = zone.filter(|zone| *zone != Tz::UTC) else { return };
    let mut block = i64::MIN;
    let mut block_offset = None;
    for instant in instants_ms {
        *instant = (*instant).clamp(-TIME_MS_MAX, TIME_MS_MAX);
        let own = instant.div_euclid(BLOCK_MS);
        if own != block {
            block = own;
            let (first, last) = (own * BLOCK_MS, own * BLOCK_MS + BLOCK_MS - 1);
            block_offset = Some(offset_ms(zone, first)).filter(|offset| *offset == offset_ms(zone, last));
        }
        *instant += block_offset.unwrap_or_else(|| offset_ms(zone, *instant));
    }
}

/// The last instant at which the wall clock of `zone` shows `local_ms` or less: in a fold the later of the two
/// instants, in a gap the millisecond before the gap. Never decreases as `local_ms` grows, so a window that ends at
/// local time e is complete at `last_instant(zone, e - 1)`.
pub fn last_instant(zone: Option<Tz>, local_ms: i64) -> i64 {
    let Some(zone) = zone.filter(|zone| *zone != Tz::UTC) else { return local_ms };
    let bounded = local_ms.clamp(-TIME_MS_MAX, TIME_MS_MAX);
    // One day on either side there is, as a rule, no more than one change of offset between the two.
    let (before, after) = (offset_ms(zone, bounded - OFFSET_MS_MAX), offset_ms(zone, bounded + OFFSET_MS_MAX));
    if before == after && offset_ms(zone, bounded - before) == before {
        return bounded - before;
    }
    last_instant_by_search(zone, bounded)
}

fn last_instant_by_search(zone: Tz, local_ms: i64) -> i64 {
    let naive = DateTime::from_timestamp_millis(local_ms).expect("clamped to the calendar").naive_utc();
    match zone.offset_from_local_datetime(&naive) {
        chrono::LocalResult::Single(offset) => local_ms - millis(&offset),
        chrono::LocalResult::Ambiguous(one, other) => local_ms - millis(&one).min(millis(&other)),
        chrono::LocalResult::None => last_before_gap(zone, local_ms),
    }
}

/// Bisects for the last instant whose local time is below `local_ms`, which lies in a gap.
fn last_before_gap(zone: Tz, local_ms: i64) -> i64 {
    let shows_less = |instant: i64| instant + offset_ms(zone, instant) < local_ms;
    let (mut below, mut above) = (local_ms - OFFSET_MS_MAX, local_ms + OFFSET_MS_MAX);
    assert!(shows_less(below) && !shows_less(above), "offsets are below {OFFSET_MS_MAX} ms");
    while above - below > 1 {
        let middle = below + (above - below) / 2;
        if shows_less(middle) {
            below = middle;
        } else {
            above = middle;
        }
    }
    below
}

fn offset_ms(zone: Tz, instant_ms: i64) -> i64 {
    let instant_ms = instant_ms.clamp(-TIME_MS_MAX, TIME_MS_MAX);
    let utc = DateTime::from_timestamp_millis(instant_ms).expect("clamped to the calendar").naive_utc();
    millis(&zone.offset_from_utc_datetime(&utc))
}

fn millis(offset: &impl Offset) -> i64 {
    i64::from(offset.fix().local_minus_utc()) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const MINUTE_MS: i64 = 60_000;
    const HOUR_MS: i64 = 60 * MINUTE_MS;
    const ZONES: [Tz; 6] = [
        Tz::America__New_York,
        Tz::Europe__Berlin,
        Tz::Asia__Kolkata,
        Tz::Pacific__Apia,
        Tz::Australia__Lord_Howe,
        Tz::UTC,
    ];

    fn ms(text: &str) -> i64 {
        chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").unwrap().and_utc().timestamp_millis()
    }

    #[test]
    fn a_fold_takes_the_later_instant_and_a_gap_the_instant_before_it() {
        let zone = Some(Tz::America__New_York);
        // 2021-11-07 02:00 EDT goes back to 01:00 EST (06:00 UTC).
        assert_eq!(last_instant(zone, ms("2021-11-07 00:59:59.999")), ms("2021-11-07 04:59:59.999"));
        assert_eq!(last_instant(zone, ms("2021-11-07 01:00:00")), ms("2021-11-07 06:00:00"));
        assert_eq!(last_instant(zone, ms("2021-11-07 01:59:59.999")), ms("2021-11-07 06:59:59.999"));
        // 2021-03-14 02:00 EST jumps to 03:00 EDT (07:00 UTC).
        for inside in ["2021-03-14 02:00:00", "2021-03-14 02:30:00", "2021-03-14 02:59:59.999"] {
            assert_eq!(last_instant(zone, ms(inside)), ms("2021-03-14 06:59:59.999"), "{inside}");
        }
        assert_eq!(last_instant(zone, ms("2021-03-14 03:00:00")), ms("2021-03-14 07:00:00"));
        // Samoa left out a whole day.
        assert_eq!(last_instant(Some(Tz::Pacific__Apia), ms("2011-12-30 12:00:00")), ms("2011-12-30 09:59:59.999"));
    }

    #[test]
    fn last_instant_agrees_with_a_scan_over_all_minutes() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let around = [
            ms("2021-11-07 01:30:00"),
            ms("2021-03-14 02:30:00"),
            ms("2021-03-28 02:30:00"),
            ms("2011-12-30 12:00:00"),
            ms("2021-04-04 02:00:00"),
        ];
        for _ in 0..300 {
            let zone = Some(ZONES[rng.random_range(0..ZONES.len())]);
            let local = around[rng.random_range(0..around.len())] + rng.random_range(-2000..2000) * MINUTE_MS;
            let minutes = (-30 * 60..=30 * 60).map(|minute| local + minute * MINUTE_MS);
            let scanned = minutes.filter(|instant| to_local(zone, *instant) <= local).max().unwrap();
            let found = last_instant(zone, local);
            assert_eq!(found.div_euclid(MINUTE_MS) * MINUTE_MS, scanned, "{zone:?} at {local}");
        }
    }

    #[test]
    fn many_instants_are_converted_as_one_by_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for zone in ZONES {
            let mut times: Vec<i64> = (0..500)
                .map(|_| ms("2021-11-07 05:00:00") + rng.random_range(-300..300) * HOUR_MS / 7)
                .chain([i64::MIN, i64::MAX, ms("1890-01-01 00:00:00")])
                .collect();
            let expected: Vec<i64> =
                times.iter().map(|time| to_local(Some(zone), (*time).clamp(-TIME_MS_MAX, TIME_MS_MAX))).collect();
            all_to_local(Some(zone), &mut times);
            if zone != Tz::UTC {
                assert_eq!(times, expected, "{zone}");
            }
        }
    }
}
