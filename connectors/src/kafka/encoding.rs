//! How rows become messages: key, value, timestamp and headers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMillisecondType};
use rdkafka::message::OwnedHeaders;
use tidemill_engine::{Batch, Result, RowKind};

use super::options::KafkaTable;
use super::rows::{HEADERS, TIMESTAMP, headers_type, timestamp_type, written_headers};
use crate::format::{Format, Messages, RowEncoder};
use crate::table::TableSpec;

/// Which columns of a sink's rows go where.
#[derive(Debug)]
pub struct MessageLayout {
    value: HalfLayout,
    key: Option<HalfLayout>,
    timestamp: Option<usize>,
    headers: Option<usize>,
    upserts: bool,
}

/// The columns in one half of a message, and their names and types there.
#[derive(Debug)]
struct HalfLayout {
    columns: Vec<usize>,
    schema: SchemaRef,
    format: Format,
}

/// A message before it is sent.
pub struct Outgoing<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// Milliseconds since 1970; `None`: now.
    pub timestamp: Option<i64>,
    pub headers: Option<OwnedHeaders>,
}

impl MessageLayout {
    /// `schema`: of the rows that the sink is given, metadata columns among them.
    pub fn new(spec: &TableSpec, table: &KafkaTable, schema: &Schema) -> Self {
        let place = |name: &str| schema.index_of(name).expect("a sink is given all of its table's columns");
        let half = |columns: Vec<usize>, fields: Vec<Field>, format: &Format| HalfLayout {
            columns,
            schema: Arc::new(Schema::new(fields)),
            format: format.clone(),
        };
        let value = table.value_fields(&spec.columns);
        let value_places = value.iter().map(|field| place(field.name())).collect();
        let key_places = || table.key_fields.iter().map(|name| place(name)).collect();
        let metadata = |key: &str| {
            let column = spec.metadata.iter().find(|column| column.key == key && !column.is_virtual);
            column.map(|column| place(&column.name))
        };
        Self {
            value: half(value_places, value, &table.value),
            key: table.key.as_ref().map(|format| half(key_places(), table.fields_of_key(&spec.columns), format)),
            timestamp: metadata(TIMESTAMP),
            headers: metadata(HEADERS),
            upserts: table.upserts,
        }
    }

    pub fn encoding(&self) -> Result<Encoding> {
        Ok(Encoding {
            value: self.value.encoder()?,
            key: self.key.as_ref().map(HalfLayout::encoder).transpose()?,
            timestamp: self.timestamp,
            headers: self.headers,
            upserts: self.upserts,
        })
    }
}

impl HalfLayout {
    fn encoder(&self) -> Result<HalfEncoder> {
        let (columns, schema) = (self.columns.clone(), Arc::clone(&self.schema));
        Ok(HalfEncoder { columns, schema, encoder: self.format.encoder(&self.schema)?, messages: Messages::default() })
    }
}

/// Encodes the rows of one writer.
pub struct Encoding {
    value: HalfEncoder,
    key: Option<HalfEncoder>,
    timestamp: Option<usize>,
    headers: Option<usize>,
    upserts: bool,
}

struct HalfEncoder {
    columns: Vec<usize>,
    schema: SchemaRef,
    encoder: Box<dyn RowEncoder>,
    messages: Messages,
}

impl HalfEncoder {
    fn encode(&mut self, rows: &RecordBatch, kinds: Option<&arrow::array::Int8Array>) -> Result<()> {
        let columns = self.columns.iter().map(|index| rows.column(*index).clone()).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        // Of a deleted row, of which only the key counts, other columns may be NULL that must not be so otherwise.
        let half = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?;
        self.encoder.encode_messages(&half, kinds, &mut self.messages)
    }
}

impl Encoding {
    /// The messages of a batch, in the order of its rows. Of upserts, a deleted row is a message without a value.
    pub fn messages(&mut self, batch: &Batch) -> Result<impl Iterator<Item = Outgoing<'_>>> {
        let rows = batch.rows();
        let deleted = self.encode(batch)?;
        let timestamps = self.timestamp.map(|index| cast(rows.column(index), &timestamp_type())).transpose()?;
        let headers = self.headers.map(|index| cast(rows.column(index), &headers_type())).transpose()?;
        let mut keys = self.key.as_ref().map(|key| key.messages.iter());
        let mut values = self.value.messages.iter();
        Ok((0..rows.num_rows()).map(move |row| {
            let key = keys.as_mut().and_then(|keys| keys.next().flatten());
            let is_deleted = deleted.as_ref().is_some_and(|deleted| deleted.value(row));
            let value = if is_deleted { None } else { values.next().flatten() };
            let timestamp = timestamps.as_ref().map(|column| column.as_primitive::<TimestampMillisecondType>());
            let timestamp = timestamp.filter(|column| column.is_valid(row)).map(|column| column.value(row));
            let headers = headers.as_ref().and_then(|column| written_headers(column.as_map(), row));
            Outgoing { key, value, timestamp, headers }
        }))
    }

    /// Which rows are deletes, where there are any among upserts.
    fn encode(&mut self, batch: &Batch) -> Result<Option<BooleanArray>> {
        if let Some(key) = &mut self.key {
            key.encode(batch.rows(), None)?;
        }
        if !self.upserts {
            self.value.encode(batch.rows(), batch.kinds())?;
            return Ok(None);
        }
        let Some(kinds) = batch.kinds() else {
            self.value.encode(batch.rows(), None)?;
            return Ok(None);
        };
        assert!(!kinds.values().contains(&(RowKind::UpdateBefore as i8)), "old rows are dropped in front of upserts");
        let deleted = BooleanArray::from_unary(kinds, |kind| kind == RowKind::Delete as i8);
        let kept = compute::filter_record_batch(batch.rows(), &compute::not(&deleted)?)?;
        self.value.encode(&kept, None)?;
        Ok(Some(deleted))
    }
}

fn cast(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    Ok(compute::cast(column, data_type)?)
}
