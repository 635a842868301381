//! The options of a source: where reading begins and ends, and how new partitions are found.

use std::collections::BTreeMap;
use std::time::Duration;

use super::list::{
    BOUNDED_MODE, BOUNDED_OFFSETS, BOUNDED_TIMESTAMP, DISCOVERY_INTERVAL, STARTUP_MODE, STARTUP_OFFSETS,
    STARTUP_TIMESTAMP,
};
use super::{Checked, KafkaTable, Topics, parts};
use crate::options::{OptionDef, OptionProblem};
use crate::table::TableSpec;

/// Where reading begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Earliest,
    Latest,
    Group,
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// By partition; those that are not named as with `Group`.
    Offsets(BTreeMap<i32, i64>),
}

#[derive(Debug, Clone)]
pub struct SourceOptions {
    pub start: Place,
    /// `None`: never.
    pub end: Option<Place>,
    pub discovery_interval: Option<Duration>,
}

/// One of the two ends: its mode, and what the modes ask for.
struct PlaceOptions {
    mode: OptionDef,
    timestamp: OptionDef,
    offsets: OptionDef,
}

const STARTUP: PlaceOptions =
    PlaceOptions { mode: STARTUP_MODE, timestamp: STARTUP_TIMESTAMP, offsets: STARTUP_OFFSETS };
const BOUNDED: PlaceOptions =
    PlaceOptions { mode: BOUNDED_MODE, timestamp: BOUNDED_TIMESTAMP, offsets: BOUNDED_OFFSETS };

impl SourceOptions {
    pub fn of(spec: &TableSpec, table: &KafkaTable) -> Checked<Self> {
        // A table that is kept by key is whole only from its first message on.
        let start = if table.upserts { Place::Earliest } else { STARTUP.place(spec, table)? };
        let end = match spec.text(&BOUNDED_MODE) {
            Some("unbounded") | None => {
                BOUNDED.place(spec, table)?;
                None
            }
            Some(_) => Some(BOUNDED.place(spec, table)?),
        };
        if table.client.get("group.id").is_none() {
            let asks = [(Some(&start), STARTUP_MODE), (end.as_ref(), BOUNDED_MODE)];
            if let Some((_, mode)) = asks.into_iter().find(|(place, _)| *place == Some(&Place::Group)) {
                return Err(OptionProblem::at(mode.key, "'group-offsets' needs a group").hint(format!(
                    "add 'properties.group.id' = '...', or '{}' = 'earliest-offset'",
                    STARTUP_MODE.key
                )));
            }
        }
        let interval = spec.duration(&DISCOVERY_INTERVAL)?.filter(|interval| !interval.is_zero());
        Ok(Self { start, end, discovery_interval: interval })
    }
}

impl PlaceOptions {
    fn place(&self, spec: &TableSpec, table: &KafkaTable) -> Checked<Place> {
        let mode = spec.text(&self.mode).unwrap_or_default();
        for (option, wanted) in [(&self.timestamp, "timestamp"), (&self.offsets, "specific-offsets")] {
            if mode != wanted && spec.options.contains_key(option.key) {
                let message = format!("'{}' says nothing while '{}' is '{mode}'", option.key, self.mode.key);
                return Err(OptionProblem::at(option.key, message)
                    .hint(format!("add '{}' = '{wanted}', or leave it out", self.mode.key)));
            }
        }
        Ok(match mode {
            "earliest-offset" => Place::Earliest,
            "latest-offset" => Place::Latest,
            "timestamp" => {
                let time = spec.integer(&self.timestamp)?;
                Place::Timestamp(time.ok_or_else(|| OptionProblem::missing(&self.timestamp, spec.connector()))?)
            }
            "specific-offsets" => {
                if !matches!(&table.topics, Topics::Named(names) if names.len() == 1) {
                    let message = "'specific-offsets' names partitions of one topic, but the table reads several";
                    return Err(OptionProblem::at(self.mode.key, message).hint("declare a table for each topic"));
                }
                Place::Offsets(specific_offsets(self.offsets.key, spec.required_text(&self.offsets)?)?)
            }
            _ => Place::Group,
        })
    }
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific_offsets(key: &str, text: &str) -> Checked<BTreeMap<i32, i64>> {
    let wrong = || {
        OptionProblem::at(key, format!("'{key}' = '{text}' is not valid"))
            .hint("write 'partition:0,offset:42;partition:1,offset:300'")
    };
    let parse = |part: &str| -> Option<(i32, i64)> {
        let (partition, offset) = part.split_once(',')?;
        let partition = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset: i64 = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        (offset >= 0).then_some((partition, offset))
    };
    let offsets: BTreeMap<i32, i64> = parts(text).map(|part| parse(part).ok_or_else(wrong)).collect::<Checked<_>>()?;
    if offsets.is_empty() { Err(wrong()) } else { Ok(offsets) }
}
