//! From messages to rows: values and keys are decoded a batch at a time, metadata columns are filled in beside them. Where messages
//! are upserts, one without a value is a delete that knows its key alone.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int8Array, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute;
use arrow::datatypes::{Field, Schema, SchemaRef};
use tidemill_engine::batch::RowKind;
use tidemill_engine::source::Rejected;
use tidemill_engine::{Batch, EngineError, Result};

use super::native::PartitionMessage;
use super::options::KafkaTable;
use crate::format::{Block, Decoded, Format, RowDecoder};
use crate::table::TableSpec;

mod envelope;
mod metadata;
mod taken;
#[cfg(test)]
mod tests;

use envelope::Envelopes;
use taken::{Parts, Taken, Wanted};

pub use envelope::check as check_value_metadata;
pub use metadata::{HEADERS, TIMESTAMP, headers_type, metadata, timestamp_type, written_headers};

/// Where a column of the source comes from.
#[derive(Debug, Clone)]
enum Origin {
    /// Index among the columns decoded from values.
    Value(usize),
    /// Index among the columns decoded from keys.
    Key(usize),
    Metadata(String),
}

/// How the columns that a plan reads are made from messages.
#[derive(Debug, Clone)]
pub struct RowLayout {
    pub schema: SchemaRef,
    origins: Vec<Origin>,
    value: Part,
    key: Option<Part>,
    wanted: Wanted,
}

/// The columns in one half of a message.
#[derive(Debug, Clone)]
struct Part {
    format: Format,
    /// All of them.
    table: SchemaRef,
    /// Those that are read.
    projection: Vec<usize>,
}

impl Part {
    fn new(format: &Format, fields: Vec<Field>) -> Self {
        Self { format: format.clone(), table: Arc::new(Schema::new(fields)), projection: Vec::new() }
    }

    /// The index of a column among those that are decoded.
    fn reading(&mut self, name: &str) -> usize {
        let index = self.table.index_of(name).expect("the column is in this half");
        self.projection.iter().position(|known| *known == index).unwrap_or_else(|| {
            self.projection.push(index);
            self.projection.len() - 1
        })
    }

    fn decoder(&self, place: &str) -> Result<Box<dyn RowDecoder>> {
        self.format.decoder(&self.table, &self.projection, Path::new(place))
    }
}

impl RowLayout {
    /// `columns`: the physical and metadata columns to read, in order; `schema`: theirs.
    pub fn new(spec: &TableSpec, table: &KafkaTable, columns: &[String], schema: SchemaRef) -> Self {
        let mut value = Part::new(&table.value, table.value_fields(&spec.columns));
        let from_key = table.except_key || table.upserts;
        let key = table.key.as_ref().filter(|_| from_key);
        let mut key = key.map(|format| Part::new(format, table.fields_of_key(&spec.columns)));
        let origin = |name: &String| match spec.metadata.iter().find(|column| column.name == *name) {
            Some(column) => Origin::Metadata(column.key.clone()),
            None => match key.as_mut().filter(|_| table.key_fields.contains(name)) {
                Some(key) => Origin::Key(key.reading(table.name_in_key(name))),
                None => Origin::Value(value.reading(name)),
            },
        };
        let origins: Vec<Origin> = columns.iter().map(origin).collect();
        let reads =
            |wanted: &str| origins.iter().any(|origin| matches!(origin, Origin::Metadata(key) if key == wanted));
        let key = key.filter(|key| !key.projection.is_empty());
        let wanted = Wanted {
            keys: key.is_some(),
            headers: reads(HEADERS),
            leader_epochs: reads(metadata::LEADER_EPOCH),
            deletes: table.upserts,
            nulls: matches!(table.value, Format::Raw(_)) && !table.upserts,
        };
        let schema = if table.upserts { nullable(&schema) } else { schema };
        Self { schema, origins, value, key, wanted }
    }

    pub fn rows(&self, topic: &str, partition: i32) -> Result<MessageRows> {
        let place = format!("topic '{topic}', partition {partition}");
        Ok(MessageRows {
            value: self.value.decoder(&place)?,
            key: self.key.as_ref().map(|key| key.decoder(&place)).transpose()?,
            layout: self.clone(),
            topic: topic.to_string(),
            partition,
            taken: Taken::default(),
        })
    }
}

/// A deleted row lacks all but its key.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Makes rows of the messages of one partition.
pub struct MessageRows {
    layout: RowLayout,
    value: Box<dyn RowDecoder>,
    key: Option<Box<dyn RowDecoder>>,
    topic: String,
    partition: i32,
    taken: Taken,
}

/// The rows of a batch, in the order of the messages.
struct Chosen {
    /// The message of each row.
    messages: Vec<u32>,
    /// Its row among those decoded from values; NULL: the message has no value.
    values: UInt32Array,
    /// Its row among those decoded from keys.
    keys: Option<UInt32Array>,
}

impl MessageRows {
    pub fn take(&mut self, message: PartitionMessage<'_>) {
        self.taken.take(message, self.layout.wanted);
    }

    pub fn len(&self) -> usize {
        self.taken.offsets.len()
    }

    pub fn bytes(&self) -> usize {
        self.taken.bytes()
    }

    /// The rows of all messages taken since the last call, and the messages left out among them.
    pub fn make(&mut self) -> Result<(Batch, Vec<Rejected>)> {
        let taken = std::mem::take(&mut self.taken);
        let place = (self.topic.as_str(), self.partition);
        let mut values = decode(self.value.as_mut(), &taken.values, &taken.offsets, place)?;
        if self.layout.wanted.nulls {
            values.rows = without_values(&values.rows, &taken.empty)?;
        }
        let keys = match &mut self.key {
            None => None,
            Some(decoder) => Some(decode(decoder.as_mut(), &taken.keys, &taken.offsets, place)?),
        };
        let mut rejected = std::mem::take(&mut values.rejected);
        if let Some(keys) = &keys {
            rejected.extend(keys.rejected.iter().cloned());
            rejected.sort_by_key(|one| one.offset);
            rejected.dedup_by_key(|one| one.offset);
        }
        let chosen = self.choose(&taken, &values, keys.as_ref())?;
        let rows = self.assemble(&taken, &chosen, &values, keys.as_ref())?;
        Ok((
            match kinds(&chosen, values.kinds.as_ref())? {
                None => Batch::new(rows),
                Some(kinds) => Batch::with_kinds(rows, kinds),
            },
            rejected,
        ))
    }

    /// Rows whose key could not be read are left out with their message.
    fn choose(&self, taken: &Taken, values: &Decoded, keys: Option<&Decoded>) -> Result<Chosen> {
        let mut rows: Vec<(u32, Option<u32>)> =
            values.messages.iter().enumerate().map(|(row, message)| (*message, Some(row as u32))).collect();
        if self.layout.wanted.deletes && !taken.empty.is_empty() {
            rows.extend(taken.empty.iter().map(|message| (*message, None)));
            rows.sort_by_key(|(message, _)| *message);
        }
        let key_row = |keys: &Decoded, message: u32| keys.messages.binary_search(&message).ok().map(|row| row as u32);
        if let Some(keys) = keys {
            let is_rejected = |message: u32| {
                let offset = taken.offsets[message as usize] as u64;
                keys.rejected.binary_search_by_key(&offset, |one| one.offset).is_ok()
            };
            rows.retain(|(message, _)| !is_rejected(*message));
            let keyless = rows.iter().find(|(message, _)| key_row(keys, *message).is_none());
            if let Some((message, _)) = keyless.filter(|_| self.needs_key()) {
                return Err(self.without_key(taken.offsets[*message as usize]));
            }
        }
        let messages: Vec<u32> = rows.iter().map(|(message, _)| *message).collect();
        let keys = keys.map(|keys| UInt32Array::from_iter(messages.iter().map(|message| key_row(keys, *message))));
        Ok(Chosen { messages, values: rows.iter().map(|(_, row)| *row).collect(), keys })
    }

    fn needs_key(&self) -> bool {
        let key_columns = self.layout.origins.iter().zip(self.layout.schema.fields());
        let mut key_columns = key_columns.filter(|(origin, _)| matches!(origin, Origin::Key(_)));
        self.layout.wanted.deletes || key_columns.any(|(_, field)| !field.is_nullable())
    }

    fn without_key(&self, offset: i64) -> EngineError {
        EngineError::BadRecord {
            place: place_of(offset, (&self.topic, self.partition)),
            offset: 0,
            reason: "the message has no key, but columns of the table stand there".into(),
            excerpt: String::new(),
            hint: "read the topic with a table that has no columns in the key, or write messages with keys".into(),
        }
    }

    fn assemble(
        &self,
        taken: &Taken,
        chosen: &Chosen,
        values: &Decoded,
        keys: Option<&Decoded>,
    ) -> Result<RecordBatch> {
        let all_in_order = chosen.values.null_count() == 0 && chosen.values.len() == values.rows.num_rows();
        let of_value = |origin: &Origin| matches!(origin, Origin::Metadata(key) if envelope::is_of_value(key));
        let envelopes = self.layout.origins.iter().any(of_value);
        let envelopes = envelopes.then(|| Envelopes::read(&taken.values, &chosen.messages));
        let columns = self.layout.origins.iter().zip(self.layout.schema.fields()).map(|(origin, field)| match origin {
            Origin::Value(index) if all_in_order => Ok(values.rows.column(*index).clone()),
            Origin::Value(index) => compute::take(values.rows.column(*index), &chosen.values, None),
            Origin::Key(index) => {
                let (keys, rows) =
                    keys.zip(chosen.keys.as_ref()).expect("keys are decoded where one of their columns is read");
                compute::take(keys.rows.column(*index), rows, None)
            }
            Origin::Metadata(key) => {
                let column = match envelopes.as_ref().filter(|_| of_value(origin)) {
                    Some(envelopes) => envelopes.column(key),
                    None => metadata::column(key, (&self.topic, self.partition), taken, &chosen.messages),
                };
                compute::cast(&column, field.data_type())
            }
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(chosen.messages.len()));
        Ok(RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options)?)
    }
}

/// What each row does; `None`: all are inserts. `told`: of the rows decoded from values, where their format says so.
fn kinds(chosen: &Chosen, told: Option<&Int8Array>) -> Result<Option<Int8Array>> {
    if let Some(told) = told {
        let kinds = compute::take(told, &chosen.values, None)?;
        return Ok(Some(kinds.as_any().downcast_ref::<Int8Array>().expect("kinds stay kinds").clone()));
    }
    if chosen.values.null_count() == 0 {
        return Ok(None);
    }
    let kind = |value: Option<u32>| value.map_or(RowKind::Delete, |_| RowKind::Insert) as i8;
    Ok(Some(Int8Array::from_iter_values(chosen.values.iter().map(kind))))
}

/// A message without a value is NULL in the raw format, whose rows stand one for one message.
fn without_values(rows: &RecordBatch, empty: &[u32]) -> Result<RecordBatch> {
    if empty.is_empty() || rows.num_columns() == 0 {
        return Ok(rows.clone());
    }
    let mut is_empty = vec![false; rows.num_rows()];
    empty.iter().for_each(|row| is_empty[*row as usize] = true);
    let column = compute::nullif(rows.column(0), &BooleanArray::from(is_empty))?;
    Ok(RecordBatch::try_new(rows.schema(), vec![column])?)
}

/// Messages in what comes back are those of the batch; offsets, in errors too, those of the messages.
fn decode(decoder: &mut dyn RowDecoder, parts: &Parts, offsets: &[i64], place: (&str, i32)) -> Result<Decoded> {
    let decoded = decoder.decode(Block::messages(&parts.bytes, &parts.ends), usize::MAX);
    match decoded {
        Ok(mut decoded) => {
            let mut from = 0;
            for one in &mut decoded.rejected {
                let (part, _) = parts.place_of(one.offset, one.record.is_empty(), from);
                one.offset = offsets[parts.message(part) as usize] as u64;
                from = part + 1;
            }
            decoded.messages.iter_mut().for_each(|part| *part = parts.message(*part as usize));
            Ok(decoded)
        }
        Err(EngineError::BadRecord { offset, reason, excerpt, hint, .. }) => {
            let (part, start) = parts.place_of(offset, excerpt.is_empty(), 0);
            let place = place_of(offsets[parts.message(part) as usize], place);
            Err(EngineError::BadRecord { place, offset: offset.saturating_sub(start as u64), reason, excerpt, hint })
        }
        Err(error) => Err(error),
    }
}

fn place_of(offset: i64, (topic, partition): (&str, i32)) -> String {
    format!("message {offset} of topic '{topic}', partition {partition}")
}
