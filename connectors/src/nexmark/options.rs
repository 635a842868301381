//! The options of the connector, named as in Flink's Nexmark source where that has them, and a table's options resolved.

use chrono::NaiveDateTime;

use super::site::{GROUP_STRIDE, Site};
use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::table::TableSpec;

/// Proportions, ratios and the like stay below this, so that no product of two of them overflows.
const COUNT_MAX: i64 = 1_000_000;
const RATE_DEFAULT: u64 = 10_000;

pub const TABLE: OptionDef = OptionDef::new(
    "nexmark.table",
    OptionType::Choice(&["all", "person", "auction", "bid"]),
    "which events are rows; 'all': event_type INT (0, 1, 2) and the rows person, auction and bid, as in Flink (extension)",
)
.default("all")
.source();
const TPS: OptionDef =
    OptionDef::new("tps", OptionType::Integer { min: 1 }, "another name for first-event.rate (extension)").source();
const RATE: OptionDef =
    OptionDef::new("first-event.rate", OptionType::Integer { min: 1 }, "events per second of event time (10000)")
        .source();
const NEXT_RATE: OptionDef = OptionDef::new(
    "next-event.rate",
    OptionType::Integer { min: 1 },
    "the same as first-event.rate: rates do not change",
)
.source();
const LIMITED: OptionDef = OptionDef::new(
    "rate.limited",
    OptionType::Boolean,
    "events come at their rate by the clock; otherwise as fast as they are taken",
)
.default("false")
.source();
const EVENTS: OptionDef =
    OptionDef::new("events.num", OptionType::Integer { min: 0 }, "events of all kinds; 0: without end")
        .default("0")
        .source();
const PERSONS: OptionDef =
    OptionDef::new("person.proportion", OptionType::Integer { min: 1 }, "persons of a round of events")
        .default("1")
        .source();
const AUCTIONS: OptionDef =
    OptionDef::new("auction.proportion", OptionType::Integer { min: 1 }, "auctions of a round of events")
        .default("3")
        .source();
const BIDS: OptionDef = OptionDef::new("bid.proportion", OptionType::Integer { min: 0 }, "bids of a round of events")
    .default("46")
    .source();
const PERSON_SIZE: OptionDef =
    OptionDef::new("person.avg-size", OptionType::Size, "bytes of a person; `extra` fills them")
        .default("200b")
        .source();
const AUCTION_SIZE: OptionDef =
    OptionDef::new("auction.avg-size", OptionType::Size, "bytes of an auction; `extra` fills them")
        .default("500b")
        .source();
const BID_SIZE: OptionDef =
    OptionDef::new("bid.avg-size", OptionType::Size, "bytes of a bid without channel and url; `extra` fills them")
        .default("100b")
        .source();
const HOT_AUCTIONS: OptionDef =
    OptionDef::new("bid.hot-ratio.auctions", OptionType::Integer { min: 1 }, "of n bids, n - 1 are for a hot auction")
        .default("2")
        .source();
const HOT_BIDDERS: OptionDef =
    OptionDef::new("bid.hot-ratio.bidders", OptionType::Integer { min: 1 }, "of n bids, n - 1 are by a hot bidder")
        .default("4")
        .source();
const HOT_SELLERS: OptionDef = OptionDef::new(
    "auction.hot-ratio.sellers",
    OptionType::Integer { min: 1 },
    "of n auctions, n - 1 are by a hot seller",
)
.default("4")
.source();
const IN_FLIGHT: OptionDef = OptionDef::new(
    "auction.in-flight",
    OptionType::Integer { min: 1 },
    "bids are for the last so many auctions; auctions are open about so long (extension)",
)
.default("100")
.source();
const ACTIVE: OptionDef = OptionDef::new(
    "person.active",
    OptionType::Integer { min: 1 },
    "the last so many persons bid and sell (extension)",
)
.default("1000")
.source();
const OUT_OF_ORDER: OptionDef = OptionDef::new(
    "out-of-order.group-size",
    OptionType::Integer { min: 1 },
    "so many events in a row come in mixed order; 1: all come in the order of their times (extension)",
)
.default("1")
.source();
const BASE_TIME: OptionDef = OptionDef::new("base-time", OptionType::Text, "time of the first event (extension)")
    .default("2024-01-01 00:00:00")
    .source();
const SEED: OptionDef =
    OptionDef::new("seed", OptionType::Integer { min: i64::MIN }, "another seed gives other events (extension)")
        .default("0")
        .source();
const SPLITS: OptionDef = OptionDef::new(
    "splits",
    OptionType::Integer { min: 1 },
    "parts that are read side by side; the events are the same (extension)",
)
.default("4")
.source();

pub const LIST: &[OptionDef] = &[
    TABLE,
    EVENTS,
    TPS,
    RATE,
    NEXT_RATE,
    LIMITED,
    PERSONS,
    AUCTIONS,
    BIDS,
    PERSON_SIZE,
    AUCTION_SIZE,
    BID_SIZE,
    HOT_AUCTIONS,
    HOT_BIDDERS,
    HOT_SELLERS,
    IN_FLIGHT,
    ACTIVE,
    OUT_OF_ORDER,
    BASE_TIME,
    SEED,
    SPLITS,
];

/// A table's options.
#[derive(Debug, Clone)]
pub struct Settings {
    pub site: Site,
    /// Events come at their rate by the clock.
    pub limited: bool,
    pub splits: u64,
}

pub fn resolve(spec: &TableSpec) -> Result<Settings, OptionProblem> {
    let events = count(spec, &EVENTS, i64::MAX)?;
    let site = Site {
        seed: spec.integer(&SEED)?.unwrap_or(0) as u64,
        events: if events == 0 { u64::MAX } else { events },
        rate: rate(spec)?,
        base_ms: base_ms(spec)?,
        persons: count(spec, &PERSONS, COUNT_MAX)?,
        auctions: count(spec, &AUCTIONS, COUNT_MAX)?,
        bids: count(spec, &BIDS, COUNT_MAX)?,
        hot_auctions: count(spec, &HOT_AUCTIONS, COUNT_MAX)?,
        hot_bidders: count(spec, &HOT_BIDDERS, COUNT_MAX)?,
        hot_sellers: count(spec, &HOT_SELLERS, COUNT_MAX)?,
        auctions_in_flight: count(spec, &IN_FLIGHT, COUNT_MAX)?,
        persons_active: count(spec, &ACTIVE, COUNT_MAX)?,
        person_bytes: size(spec, &PERSON_SIZE)?,
        auction_bytes: size(spec, &AUCTION_SIZE)?,
        bid_bytes: size(spec, &BID_SIZE)?,
        out_of_order: group_size(spec)?,
    };
    Ok(Settings { site, limited: spec.boolean(&LIMITED)?, splits: count(spec, &SPLITS, SPLITS_MAX)? })
}

/// Parts beyond this only cost.
const SPLITS_MAX: i64 = 1024;
/// Longer events would make batches too large.
const EVENT_BYTES_MAX: u64 = 64 << 10;

fn count(spec: &TableSpec, option: &OptionDef, max: i64) -> Result<u64, OptionProblem> {
    let value = spec.integer(option)?.unwrap_or(0);
    if value > max {
        let message = format!("option '{}' takes a whole number up to {max}, not '{value}'", option.key);
        return Err(OptionProblem::at(option.key, message));
    }
    Ok(value.max(0) as u64)
}

fn size(spec: &TableSpec, option: &OptionDef) -> Result<u64, OptionProblem> {
    let value = spec.size(option)?.unwrap_or(0);
    if value > EVENT_BYTES_MAX {
        let message = format!("option '{}' takes a size up to {EVENT_BYTES_MAX} bytes, not {value}", option.key);
        return Err(OptionProblem::at(option.key, message));
    }
    Ok(value)
}

fn rate(spec: &TableSpec) -> Result<u64, OptionProblem> {
    let mut chosen: Option<(&OptionDef, i64)> = None;
    for option in [&RATE, &TPS, &NEXT_RATE] {
        let Some(value) = spec.integer(option)? else { continue };
        match chosen {
            Some((first, rate)) if rate != value => {
                let message = format!("options '{}' and '{}' differ: {rate} and {value}", first.key, option.key);
                let hint = format!("events come at one rate: leave '{}' out", option.key);
                return Err(OptionProblem::at(option.key, message).hint(hint));
            }
            _ => chosen = Some((option, value)),
        }
    }
    Ok(chosen.map_or(RATE_DEFAULT, |(_, rate)| rate.max(1) as u64))
}

fn group_size(spec: &TableSpec) -> Result<u64, OptionProblem> {
    let size = count(spec, &OUT_OF_ORDER, COUNT_MAX)?;
    if size.is_multiple_of(GROUP_STRIDE) {
        let message = format!("option '{}' takes no multiple of {GROUP_STRIDE}, such as '{size}'", OUT_OF_ORDER.key);
        return Err(OptionProblem::at(OUT_OF_ORDER.key, message).hint(format!("write '{}'", size + 1)));
    }
    Ok(size)
}

fn base_ms(spec: &TableSpec) -> Result<i64, OptionProblem> {
    let text = spec.required_text(&BASE_TIME)?.trim();
    let parsed = NaiveDateTime::parse_from_str(&text.replace('T', " "), "%Y-%m-%d %H:%M:%S%.f");
    parsed.map(|time| time.and_utc().timestamp_millis()).map_err(|_| {
        let message = format!("option '{}' takes a time, not '{text}'", BASE_TIME.key);
        OptionProblem::at(BASE_TIME.key, message).hint("write it as '2024-01-01 00:00:00'")
    })
}
