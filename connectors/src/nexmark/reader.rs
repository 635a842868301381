//! Reading events. Split i of n has every n-th round of events, so that all splits are at about the same time; the
//! position is how many events of the split, of any kind, were passed.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use serde_json::json;
use tidemill_engine::source::{Boundedness, Position, Read, Source, Split, SplitReader};
use tidemill_engine::{Batch, EngineError, Result};

use super::channels::Channels;
use super::columns::Column;
use super::options::Settings;
use super::site::{Kind, Site};
use crate::pace::Pace;

/// Events that one call passes at most: bounds the time that a table of persons, one of 50, takes for a batch.
const EVENTS_PER_READ_MAX: u64 = 1 << 16;
/// Bytes of a batch to stay below, by the size that events aim for.
const BATCH_BYTES_MAX: u64 = 32 << 20;

#[derive(Debug)]
pub struct NexmarkSource {
    shared: Arc<Shared>,
}

/// What all readers of a source need.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    schema: SchemaRef,
    columns: Vec<Column>,
    /// `None`: all kinds of events.
    kind: Option<Kind>,
    channels: Channels,
    rows_max: usize,
}

impl NexmarkSource {
    /// `columns`: one per column of `schema`.
    pub fn new(settings: Settings, schema: SchemaRef, columns: Vec<Column>, kind: Option<Kind>) -> Self {
        let needed = columns.iter().any(Column::needs_channels);
        let channels = if needed { Channels::new(settings.site.seed) } else { Channels::default() };
        let site = &settings.site;
        let event_bytes = site.person_bytes.max(site.auction_bytes).max(site.bid_bytes) + 256;
        let rows_max = (BATCH_BYTES_MAX / event_bytes).max(1) as usize;
        Self { shared: Arc::new(Shared { settings, schema, columns, kind, channels, rows_max }) }
    }
}

impl Source for NexmarkSource {
    fn schema(&self) -> SchemaRef {
        self.shared.schema.clone()
    }

    fn boundedness(&self) -> Boundedness {
        if self.shared.settings.site.events == u64::MAX { Boundedness::Unbounded } else { Boundedness::Bounded }
    }

    fn discover(&self) -> Result<Vec<Split>> {
        let of = self.shared.settings.splits;
        Ok((0..of).map(|split| Split { id: format!("events-{split}-of-{of}"), payload: json!([split, of]) }).collect())
    }

    fn open(&self, split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        let settings = &self.shared.settings;
        let (index, of) = serde_json::from_value::<(u64, u64)>(split.payload.clone())
            .map_err(|error| problem(format!("split {}: {error}", split.id)))?;
        if of != settings.splits {
            let now = settings.splits;
            return Err(problem(format!("the job began with 'splits' = '{of}' and cannot go on with '{now}'")));
        }
        let passed = match position {
            None => 0,
            Some(position) => {
                position.as_u64().ok_or_else(|| problem(format!("{position} is not a number of events")))?
            }
        };
        let pace = settings.limited.then(|| Pace::new(settings.site.rate, of));
        Ok(Box::new(EventReader { shared: self.shared.clone(), index, passed, pace }))
    }
}

fn problem(reason: String) -> EngineError {
    EngineError::Connector { connector: "nexmark".to_string(), reason }
}

struct EventReader {
    shared: Arc<Shared>,
    index: u64,
    passed: u64,
    /// `None`: as fast as events are taken.
    pace: Option<Pace>,
}

impl EventReader {
    /// The place, among those of all splits, of an event of this split.
    fn place(&self, own: u64) -> u64 {
        let Settings { site, splits, .. } = &self.shared.settings;
        let round = site.round();
        ((own / round).saturating_mul(*splits) + self.index).saturating_mul(round).saturating_add(own % round)
    }

    /// The numbers of the next events of the table's kind; passes at most `events_max` events.
    fn pass(&mut self, rows_max: usize, events_max: u64) -> Vec<u64> {
        let shared = self.shared.clone();
        let site: &Site = &shared.settings.site;
        let mut numbers = Vec::with_capacity(rows_max);
        let end = self.passed.saturating_add(events_max);
        while self.passed < end && numbers.len() < rows_max {
            let place = self.place(self.passed);
            if place >= site.events {
                break;
            }
            let event = site.event_at(place);
            if shared.kind.is_none_or(|kind| site.kind(event) == kind) {
                numbers.push(event);
            }
            self.passed += 1;
        }
        numbers
    }
}

impl SplitReader for EventReader {
    fn next(&mut self, rows_max: usize) -> Result<Read> {
        if self.place(self.passed) >= self.shared.settings.site.events {
            return Ok(Read::End);
        }
        let rows_max = rows_max.min(self.shared.rows_max).max(1);
        let (events_max, due_at) = match &mut self.pace {
            None => (EVENTS_PER_READ_MAX, None),
            Some(pace) => match pace.take(rows_max as u64) {
                Ok(helping) => (helping.rows, Some(helping.due_at)),
                Err(wait) => return Ok(Read::Wait(wait)),
            },
        };
        let numbers = self.pass(rows_max, events_max);
        let Shared { settings, columns, channels, schema, .. } = &*self.shared;
        let arrays = columns.iter().map(|column| column.values(&settings.site, channels, &numbers));
        let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let rows = RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?;
        Ok(Read::Rows { rows: Batch::new(rows).with_read_at(due_at), rejected: Vec::new() })
    }

    fn position(&self) -> Position {
        json!(self.passed)
    }
}
