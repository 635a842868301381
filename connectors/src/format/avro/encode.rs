//! From rows to records.

use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use arrow_avro::schema::{FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::format::{AvroBinaryFormat, AvroSoeFormat};
use arrow_avro::writer::{Encoder, WriterBuilder};
use tidemill_engine::{EngineError, Result};

use super::AvroOptions;
use super::conform::conform;
use super::registry::Registry;
use super::schema::{avro_schema, wire_schema};
use crate::format::{Ends, RowEncoder};

pub struct AvroEncoder {
    /// Opened at the first row: a schema is registered when there is something to write.
    encoder: Option<Encoder>,
    registry: Option<Registry>,
    json: String,
    wire: SchemaRef,
}

impl AvroEncoder {
    pub fn new(options: &AvroOptions, schema: &SchemaRef) -> Result<Self> {
        let json = avro_schema(schema, options.legacy_timestamps).to_string();
        let wire = Arc::new(wire_schema(schema, options.legacy_timestamps));
        Ok(Self { encoder: None, registry: options.registry.clone(), json, wire })
    }

    fn open(&self) -> Result<Encoder> {
        let metadata = [(SCHEMA_METADATA_KEY.to_string(), self.json.clone())].into();
        let builder = WriterBuilder::new(Schema::new_with_metadata(self.wire.fields().clone(), metadata));
        let encoder = match &self.registry {
            None => builder.build_encoder::<AvroBinaryFormat>(),
            Some(registry) => {
                let id = registry.register(&self.json)?;
                builder.with_fingerprint_strategy(FingerprintStrategy::Id(id)).build_encoder::<AvroSoeFormat>()
            }
        };
        encoder.map_err(|error| cannot_write(&error))
    }

    fn wire_rows(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns().iter().zip(self.wire.fields()).map(|(column, field)| conform(column, field));
        let columns = columns.collect::<Result<Vec<_>, String>>().map_err(|reason| cannot_write(&reason))?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.wire.clone(), columns, &options)?)
    }
}

fn cannot_write(reason: &dyn std::fmt::Display) -> EngineError {
    EngineError::Compute(format!("a row cannot be written as Avro: {reason}"))
}

impl RowEncoder for AvroEncoder {
    fn header(&self, _out: &mut Vec<u8>) {}

    fn write_records(
        &mut self,
        rows: &RecordBatch,
        kinds: Option<&Int8Array>,
        ends: &mut Ends<'_>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        assert!(kinds.is_none(), "a format of rows was given changes");
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = self.wire_rows(rows)?;
        if self.encoder.is_none() {
            self.encoder = Some(self.open()?);
        }
        let encoder = self.encoder.as_mut().expect("it was opened just before");
        encoder.encode(&rows).map_err(|error| cannot_write(&error))?;
        let records = encoder.flush();
        for bounds in records.offsets().windows(2) {
            out.extend_from_slice(&records.bytes()[bounds[0]..bounds[1]]);
            ends.close(out);
        }
        Ok(())
    }
}
