//! From messages to rows: values and keys are decoded a batch at a time, metadata columns are filled in beside them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryBuilder, BooleanArray, Int8Array, Int32Array, Int64Array, MapBuilder, RecordBatch,
    RecordBatchOptions, StringArray, StringBuilder, TimestampMillisecondArray, UInt32Array,
};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use tidemill_engine::source::Rejected;
use tidemill_engine::{Batch, EngineError, Result};

use super::options::KafkaTable;
use crate::format::{Block, Decoded, Format, RowDecoder};
use crate::registry::MetadataDef;
use crate::table::TableSpec;

/// The connector's metadata columns.
pub fn metadata() -> Vec<MetadataDef> {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let def = |key, data_type, doc| MetadataDef { key, data_type, doc };
    vec![
        def("topic", DataType::Utf8, "the topic that the message was read from"),
        def("partition", DataType::Int32, "its partition"),
        def("offset", DataType::Int64, "its offset in the partition"),
        def("timestamp", time, "its timestamp"),
        def("timestamp-type", DataType::Utf8, "what that is: 'CreateTime', 'LogAppendTime' or 'NoTimestampType'"),
        def("headers", headers_type(), "its headers; of several with one name the last"),
    ]
}

fn headers_type() -> DataType {
    let entries = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Binary, true)];
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries.into()), false)), false)
}

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
    with_headers: bool,
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
        let is_key = |name: &String| table.key_fields.contains(name);
        let half = |keep: &dyn Fn(&String) -> bool| {
            let fields = spec.columns.fields().iter().filter(|field| keep(field.name())).cloned();
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        };
        let value_table = half(&|name| !(table.except_key && is_key(name)));
        let mut value = Part { format: table.value.clone(), table: value_table, projection: Vec::new() };
        let key = table.key.as_ref().filter(|_| table.except_key);
        let mut key = key.map(|format| Part { format: format.clone(), table: half(&is_key), projection: Vec::new() });
        let origin = |name: &String| match spec.metadata.iter().find(|column| column.name == *name) {
            Some(column) => Origin::Metadata(column.key.clone()),
            None => match key.as_mut().filter(|_| is_key(name)) {
                Some(key) => Origin::Key(key.reading(name)),
                None => Origin::Value(value.reading(name)),
            },
        };
        let origins: Vec<Origin> = columns.iter().map(origin).collect();
        let with_headers = origins.iter().any(|origin| matches!(origin, Origin::Metadata(key) if key == "headers"));
        let key = key.filter(|key| !key.projection.is_empty());
        Self { schema, origins, value, key, with_headers }
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

/// Makes rows of the messages of one partition.
pub struct MessageRows {
    layout: RowLayout,
    value: Box<dyn RowDecoder>,
    key: Option<Box<dyn RowDecoder>>,
    topic: String,
    partition: i32,
    taken: Taken,
}

/// Messages, copied out of the client's buffers one behind the other.
#[derive(Default)]
struct Taken {
    values: Bytes,
    keys: Bytes,
    /// Messages without a value.
    empty: Vec<usize>,
    offsets: Vec<i64>,
    timestamps: Vec<Timestamp>,
    headers: Vec<Vec<(String, Option<Vec<u8>>)>>,
}

#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Bytes {
    fn push(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
        self.ends.push(self.bytes.len());
    }

    fn part(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    /// The message in which a byte stands.
    fn index_of(&self, at: u64) -> usize {
        self.ends.partition_point(|end| *end as u64 <= at).min(self.ends.len().saturating_sub(1))
    }
}

impl MessageRows {
    pub fn take(&mut self, message: &BorrowedMessage<'_>) {
        let taken = &mut self.taken;
        if message.payload().is_none() {
            taken.empty.push(taken.offsets.len());
        }
        taken.values.push(message.payload().unwrap_or_default());
        if self.key.is_some() {
            taken.keys.push(message.key().unwrap_or_default());
        }
        taken.offsets.push(message.offset());
        taken.timestamps.push(message.timestamp());
        if self.layout.with_headers {
            let all = message.headers().into_iter().flat_map(|headers| headers.iter());
            taken.headers.push(all.map(|one| (one.key.to_string(), one.value.map(<[u8]>::to_vec))).collect());
        }
    }

    pub fn len(&self) -> usize {
        self.taken.offsets.len()
    }

    pub fn bytes(&self) -> usize {
        self.taken.values.bytes.len() + self.taken.keys.bytes.len()
    }

    /// The rows of all messages taken since the last call, and the messages left out among them.
    pub fn make(&mut self) -> Result<(Batch, Vec<Rejected>)> {
        let taken = std::mem::take(&mut self.taken);
        let place = (self.topic.as_str(), self.partition);
        let mut values = decode(self.value.as_mut(), &taken.values, &taken.offsets, place)?;
        if let Format::Raw(_) = self.layout.value.format {
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
            values = only_with_key(values, keys)?;
        }
        let rows = self.assemble(&taken, &values, keys.as_ref())?;
        Ok((
            match values.kinds {
                None => Batch::new(rows),
                Some(kinds) => Batch::with_kinds(rows, kinds),
            },
            rejected,
        ))
    }

    fn assemble(&self, taken: &Taken, values: &Decoded, keys: Option<&Decoded>) -> Result<RecordBatch> {
        let messages = &values.messages;
        let key_rows = keys.map(|keys| {
            let row = |message: &u32| keys.messages.binary_search(message).ok().map(|row| row as u32);
            UInt32Array::from_iter(messages.iter().map(row))
        });
        let columns = self.layout.origins.iter().zip(self.layout.schema.fields()).map(|(origin, field)| match origin {
            Origin::Value(index) => Ok(values.rows.column(*index).clone()),
            Origin::Key(index) => {
                let (keys, rows) =
                    keys.zip(key_rows.as_ref()).expect("keys are decoded where one of their columns is read");
                compute::take(keys.rows.column(*index), rows, None)
            }
            Origin::Metadata(key) => compute::cast(&self.metadata(key, taken, messages), field.data_type()),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(messages.len()));
        Ok(RecordBatch::try_new_with_options(self.layout.schema.clone(), columns, &options)?)
    }

    fn metadata(&self, key: &str, taken: &Taken, messages: &[u32]) -> ArrayRef {
        let each = messages.iter().map(|message| *message as usize);
        match key {
            "topic" => Arc::new(StringArray::from_iter_values(each.map(|_| self.topic.as_str()))),
            "partition" => Arc::new(Int32Array::from_iter_values(each.map(|_| self.partition))),
            "offset" => Arc::new(Int64Array::from_iter_values(each.map(|message| taken.offsets[message]))),
            "timestamp" => {
                let times = each.map(|message| taken.timestamps[message].to_millis());
                Arc::new(TimestampMillisecondArray::from_iter(times).with_timezone("UTC"))
            }
            "timestamp-type" => {
                Arc::new(StringArray::from_iter_values(each.map(|message| timestamp_type(taken.timestamps[message]))))
            }
            "headers" => headers(each.map(|message| taken.headers[message].as_slice())),
            other => unreachable!("the metadata key {other} was checked"),
        }
    }
}

/// A message without a value is NULL in the raw format, whose rows stand one for one message.
fn without_values(rows: &RecordBatch, empty: &[usize]) -> Result<RecordBatch> {
    if empty.is_empty() || rows.num_columns() == 0 {
        return Ok(rows.clone());
    }
    let mut is_empty = vec![false; rows.num_rows()];
    empty.iter().for_each(|row| is_empty[*row] = true);
    let column = compute::nullif(rows.column(0), &BooleanArray::from(is_empty))?;
    Ok(RecordBatch::try_new(rows.schema(), vec![column])?)
}

/// Rows whose key could not be read are left out with their message.
fn only_with_key(values: Decoded, keys: &Decoded) -> Result<Decoded> {
    if keys.rejected.is_empty() {
        return Ok(values);
    }
    let kept = values.messages.iter().enumerate().filter(|(_, message)| keys.messages.binary_search(message).is_ok());
    let kept = UInt32Array::from_iter_values(kept.map(|(row, _)| row as u32));
    let rows = compute::take_record_batch(&values.rows, &kept)?;
    let kinds = values.kinds.map(|kinds| compute::take(&kinds, &kept, None)).transpose()?;
    let kinds = kinds.map(|kinds| kinds.as_any().downcast_ref::<Int8Array>().expect("kinds stay kinds").clone());
    let messages = kept.values().iter().map(|row| values.messages[*row as usize]).collect();
    Ok(Decoded { rows, kinds, messages, ..values })
}

/// Offsets in what comes back, in errors too, are those of the messages.
fn decode(decoder: &mut dyn RowDecoder, parts: &Bytes, offsets: &[i64], place: (&str, i32)) -> Result<Decoded> {
    let decoded = decoder.decode(Block::messages(&parts.bytes, &parts.ends), usize::MAX);
    match decoded {
        Ok(mut decoded) => {
            decoded.rejected.iter_mut().for_each(|one| one.offset = offsets[parts.index_of(one.offset)] as u64);
            Ok(decoded)
        }
        Err(EngineError::BadRecord { offset, reason, excerpt, hint, .. }) => {
            let message = parts.index_of(offset);
            let place = format!("message {} of topic '{}', partition {}", offsets[message], place.0, place.1);
            let start = offset.saturating_sub((parts.ends[message] - parts.part(message).len()) as u64);
            Err(EngineError::BadRecord { place, offset: start, reason, excerpt, hint })
        }
        Err(error) => Err(error),
    }
}

fn timestamp_type(timestamp: Timestamp) -> &'static str {
    match timestamp {
        Timestamp::NotAvailable => "NoTimestampType",
        Timestamp::CreateTime(_) => "CreateTime",
        Timestamp::LogAppendTime(_) => "LogAppendTime",
    }
}

fn headers<'a>(all: impl Iterator<Item = &'a [(String, Option<Vec<u8>>)]>) -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), BinaryBuilder::new());
    for headers in all {
        for (index, (key, value)) in headers.iter().enumerate() {
            if headers[index + 1..].iter().any(|(later, _)| later == key) {
                continue;
            }
            builder.keys().append_value(key);
            builder.values().append_option(value.as_deref());
        }
        builder.append(true).expect("as many keys as values");
    }
    Arc::new(builder.finish())
}
