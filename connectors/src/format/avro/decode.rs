//! From records to rows. Records of one schema are read together; each schema that turns up has a reader of its own.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, CONFLUENT_MAGIC, Fingerprint, FingerprintAlgorithm, SchemaStore};
use serde_json::Value;
use tidemill_engine::{EngineError, Result};

use super::AvroOptions;
use super::conform::{conform, missing};
use super::registry::Registry;
use super::schema::avro_schema;
use crate::format::flaw::{Flaw, Parsed};
use crate::format::rejection::Rejection;
use crate::format::{BATCH_BYTES_MAX, Block, Decoded, RowDecoder};

/// Length of what stands before a record: a zero, and the number of its schema in four bytes.
const PREFIX_BYTES: usize = 5;

/// Rows that a reader takes before they are made into columns.
const ROWS_MAX: usize = 8192;

pub struct AvroDecoder {
    /// Of the columns asked for.
    schema: SchemaRef,
    registry: Option<Registry>,
    /// The schema of records without a number.
    own: String,
    readers: HashMap<u32, Reader>,
    rejection: Rejection,
}

/// Reads the records of one schema.
struct Reader {
    decoder: Decoder,
    json: String,
    /// Of the wanted fields, in the record.
    fields: Vec<usize>,
    schema: u32,
}

/// A run of records that were read into one reader and are not columns yet.
struct Run {
    schema: u32,
    /// Their numbers in the block.
    records: Vec<usize>,
}

impl AvroDecoder {
    pub fn new(options: &AvroOptions, table: &SchemaRef, projection: &[usize], place: String) -> Result<Self> {
        Ok(Self {
            schema: Arc::new(table.project(projection)?),
            registry: options.registry.clone(),
            own: avro_schema(table, options.legacy_timestamps).to_string(),
            readers: HashMap::new(),
            rejection: Rejection { ignore: options.ignore_parse_errors, option: Some(options.ignore_option()), place },
        })
    }

    /// The number of the record's schema, and its bytes behind it.
    fn split<'a>(&self, message: &'a [u8]) -> Parsed<(u32, &'a [u8])> {
        if self.registry.is_none() {
            return Ok((0, message));
        }
        match message.split_first_chunk::<PREFIX_BYTES>() {
            Some(([magic, id @ ..], record)) if [*magic] == CONFLUENT_MAGIC => Ok((u32::from_be_bytes(*id), record)),
            _ => Err(Flaw::new("it does not begin with a zero and the number of a schema")),
        }
    }

    /// `None`: nobody knows the schema.
    fn reader(&mut self, schema: u32) -> Result<Option<&mut Reader>> {
        if !self.readers.contains_key(&schema) {
            let json = match &self.registry {
                None => Some(self.own.clone()),
                Some(registry) => registry.schema(schema)?,
            };
            let Some(json) = json else { return Ok(None) };
            let reader = Reader::open(json, schema, &self.schema).map_err(|reason| unreadable(schema, &reason))?;
            self.readers.insert(schema, reader);
        }
        Ok(self.readers.get_mut(&schema))
    }

    /// Takes one record into the reader of its schema.
    fn read(&mut self, schema: u32, record: &[u8]) -> Result<Parsed<()>> {
        Ok(match self.reader(schema)? {
            Some(reader) => reader.read(record).map_err(Flaw::new),
            None => Err(Flaw::new(format!("the schema registry knows no schema {schema}"))),
        })
    }

    /// Brings a reader that met a bad record back to the good ones of its run.
    fn read_again(&mut self, schema: u32, run: Option<&Run>, block: &Block<'_>, bounds: &[Range<usize>]) -> Result<()> {
        let prefix = if self.registry.is_some() { PREFIX_BYTES } else { 0 };
        let fail = |reason: String| unreadable(schema, &reason);
        let Some(reader) = self.reader(schema)? else { return Ok(()) };
        reader.reset().map_err(fail)?;
        for record in run.map_or(&[][..], |run| &run.records) {
            reader.read(&block.bytes[bounds[*record].clone()][prefix..]).map_err(fail)?;
        }
        Ok(())
    }

    /// The rows of a run.
    fn finish(&mut self, run: &Run) -> Result<RecordBatch> {
        let schema = self.schema.clone();
        let reader = self.readers.get_mut(&run.schema).expect("the run was read by it");
        let rows = reader.decoder.flush().map_err(|error| unreadable(run.schema, &error.to_string()))?;
        let rows = rows.ok_or_else(|| unreadable(run.schema, "no rows came of its records"))?;
        assert_eq!(rows.num_rows(), run.records.len(), "one row per record");
        let column = |field: &Arc<arrow::datatypes::Field>| match rows.column_by_name(field.name()) {
            Some(column) => conform(column, field),
            None => missing(field, rows.num_rows()),
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>, String>>();
        let columns = columns.map_err(|reason| unreadable(run.schema, &reason))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

impl Reader {
    fn open(json: String, schema: u32, wanted: &Schema) -> Result<Self, String> {
        let names = field_names(&json)?;
        let mut fields: Vec<usize> =
            wanted.fields().iter().filter_map(|field| names.iter().position(|name| name == field.name())).collect();
        // Of a record at least one field is read, so that its end is found.
        if fields.is_empty() {
            fields.push(0);
        }
        let decoder = decoder(&json, schema, &fields)?;
        Ok(Self { decoder, json, fields, schema })
    }

    /// Takes one record. A bad one may leave half of a row behind: then [`Reader::reset`] is called.
    fn read(&mut self, record: &[u8]) -> Result<(), String> {
        let mut prefix = [CONFLUENT_MAGIC[0]; PREFIX_BYTES];
        prefix[1..].copy_from_slice(&self.schema.to_be_bytes());
        self.decoder.decode(&prefix).map_err(|error| error.to_string())?;
        let taken = self.decoder.decode(record).map_err(|error| error.to_string())?;
        match taken == record.len() && !record.is_empty() {
            true => Ok(()),
            false => Err("it ends before its last field".into()),
        }
    }

    /// Forgets what was read and not taken out.
    fn reset(&mut self) -> Result<(), String> {
        self.decoder = decoder(&self.json, self.schema, &self.fields)?;
        Ok(())
    }
}

fn decoder(json: &str, schema: u32, fields: &[usize]) -> Result<Decoder, String> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    let id = Fingerprint::Id(schema);
    let text = |error: arrow::error::ArrowError| error.to_string();
    store.set(id, AvroSchema::new(json.to_string())).map_err(text)?;
    let builder = ReaderBuilder::new().with_writer_schema_store(store).with_active_fingerprint(id);
    builder.with_batch_size(ROWS_MAX).with_projection(fields.to_vec()).build_decoder().map_err(text)
}

/// The names of a record's fields.
fn field_names(json: &str) -> Result<Vec<String>, String> {
    let schema: Value = serde_json::from_str(json).map_err(|error| format!("it is not JSON: {error}"))?;
    let fields = schema.get("fields").and_then(Value::as_array).filter(|fields| !fields.is_empty());
    let fields = fields.ok_or("it is not that of a record with fields")?;
    let name = |field: &Value| field.get("name").and_then(Value::as_str).map(str::to_string);
    fields.iter().map(|field| name(field).ok_or_else(|| "a field has no name".to_string())).collect()
}

fn unreadable(schema: u32, reason: &str) -> EngineError {
    EngineError::Unsupported(format!("records of Avro schema {schema} cannot be read: {reason}"))
}

impl RowDecoder for AvroDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn begin(&mut self, _block: Block<'_>) -> Result<Option<usize>> {
        Ok(Some(0))
    }

    fn decode(&mut self, block: Block<'_>, rows_max: usize) -> Result<Decoded> {
        let (mut at, mut rejected) = (0, Vec::new());
        let (mut batches, mut messages) = (Vec::new(), Vec::new());
        let mut run: Option<Run> = None;
        let mut all: Vec<Range<usize>> = Vec::new();
        while all.len() < rows_max && at < BATCH_BYTES_MAX {
            let number = all.len();
            let Some((bounds, next)) = block.record(at, number) else { break };
            let message = &block.bytes[bounds.clone()];
            all.push(bounds);
            let read = match self.split(message) {
                Err(flaw) => Err(flaw),
                Ok((schema, record)) => {
                    if let Some(done) = run.take_if(|run| run.schema != schema || run.records.len() == ROWS_MAX) {
                        batches.push(self.finish(&done)?);
                    }
                    let read = self.read(schema, record)?;
                    match &read {
                        Ok(()) => {
                            run.get_or_insert_with(|| Run { schema, records: Vec::new() }).records.push(number);
                            messages.push(number as u32);
                        }
                        Err(_) => self.read_again(schema, run.as_ref(), &block, &all)?,
                    }
                    read
                }
            };
            if let Err(flaw) = read {
                self.rejection.reject(&flaw, message, block.offset + at as u64, &mut rejected)?;
            }
            at = next;
        }
        if let Some(run) = run {
            batches.push(self.finish(&run)?);
        }
        let rows = concat_batches(&self.schema, &batches)?;
        Ok(Decoded { consumed: at, rows, kinds: None, rejected, messages })
    }
}
