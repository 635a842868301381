//! From envelopes to rows with kinds: envelopes are decoded as JSON rows, then each one gives the one or two rows that
//! it stands for, column by column.

use arrow::array::{Array, ArrayRef, Int8Array, RecordBatch, RecordBatchOptions, StructArray};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use tidemill_engine::Result;
use tidemill_engine::source::Rejected;

use super::old_values::OldValues;
use super::records::{Included, Part, Records, Side};
use super::{ChangeOptions, Envelope};
use crate::format::flaw::{Flaw, Parsed};
use crate::format::json::decode::JsonDecoder;
use crate::format::rejection::Rejection;
use crate::format::{Block, Decoded, RowDecoder};

pub(super) struct ChangeDecoder {
    schema: SchemaRef,
    envelope: Envelope,
    json: JsonDecoder,
    /// Where an update tells of its old row only what changed.
    old: Option<OldValues>,
    included: Included,
    rejection: Rejection,
}

/// The rows of a batch, in order: which of the arrays, which of its rows, what it does.
#[derive(Default)]
struct Chosen {
    rows: Vec<(Side, usize)>,
    kinds: Vec<i8>,
    /// Which record each row is of.
    records: Vec<usize>,
}

impl ChangeDecoder {
    pub(super) fn new(options: &ChangeOptions, schema: SchemaRef, place: String) -> Result<Self> {
        let json = JsonDecoder::new(&options.json, options.envelope.schema(&schema), place.clone())?.keeping_lines();
        let option = Some(options.json.keys.ignore_parse_errors);
        let tells_changes = matches!(options.envelope, Envelope::Canal | Envelope::Maxwell);
        let old = tells_changes.then(|| OldValues::new(&options.json, &schema, place.clone())).transpose()?;
        let rejection = Rejection { ignore: options.json.ignore_parse_errors, option, place };
        Ok(Self { schema, envelope: options.envelope, json, old, included: options.included(), rejection })
    }

    /// The rows of all good envelopes; bad ones join `rejected`.
    fn choose(&self, records: &Records, block: &Block<'_>, rejected: &mut Vec<Rejected>) -> Result<Chosen> {
        let lines = self.json.lines();
        assert_eq!(lines.len(), records.len(), "one line per record");
        let mut chosen = Chosen::default();
        let decoded = rejected.len();
        for (record, line) in lines.iter().enumerate() {
            let parts = records.parts(record).and_then(|parts| self.checked(records, parts));
            match parts {
                Ok(parts) => chosen.extend(record, &parts),
                Err(flaw) => {
                    let offset = block.offset + line.start as u64;
                    self.rejection.reject(&flaw, &block.bytes[line.clone()], offset, rejected)?;
                }
            }
        }
        if rejected.len() > decoded {
            rejected.sort_by_key(|rejected| rejected.offset);
        }
        Ok(chosen)
    }

    /// Every row is there, and every column that must have a value has one.
    fn checked(&self, records: &Records, parts: Vec<Part>) -> Parsed<Vec<Part>> {
        for (side, index, _) in &parts {
            let row = &records.rows[*side];
            if row.is_null(*index) {
                return Err(Flaw::new("a row of \"data\" is null"));
            }
            let required = self.schema.fields().iter().zip(row.columns()).filter(|(field, _)| !field.is_nullable());
            if let Some((field, _)) = required.into_iter().find(|(_, column)| column.is_null(*index)) {
                return Err(Flaw::null().within(field.name()));
            }
        }
        Ok(parts)
    }

    fn rows_of(&self, sides: &[StructArray], chosen: &Chosen) -> Result<RecordBatch> {
        let column = |index: usize| -> Result<ArrayRef> {
            let sides: Vec<&dyn Array> = sides.iter().map(|row| row.column(index).as_ref()).collect();
            Ok(interleave(&sides, &chosen.rows)?)
        };
        let columns = (0..self.schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(chosen.rows.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

impl Chosen {
    fn extend(&mut self, record: usize, parts: &[Part]) {
        self.rows.extend(parts.iter().map(|(side, index, _)| (*side, *index)));
        self.kinds.extend(parts.iter().map(|(.., kind)| *kind as i8));
        self.records.extend(parts.iter().map(|_| record));
    }
}

impl RowDecoder for ChangeDecoder {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn begin(&mut self, block: Block<'_>) -> Result<Option<usize>> {
        self.json.begin(block)
    }

    /// A record may give two rows, so that half as many records are taken.
    fn decode(&mut self, block: Block<'_>, rows_max: usize) -> Result<Decoded> {
        let Decoded { consumed, rows: envelopes, mut rejected, messages, .. } =
            self.json.decode(block, (rows_max / 2).max(1))?;
        let records = Records::of(self.envelope, &envelopes, self.old.as_mut(), &self.included)?;
        let chosen = self.choose(&records, &block, &mut rejected)?;
        let rows = self.rows_of(&records.rows, &chosen)?;
        let messages = chosen.records.iter().filter_map(|record| messages.get(*record).copied()).collect();
        Ok(Decoded { consumed, rows, kinds: Some(Int8Array::from(chosen.kinds)), rejected, messages })
    }
}
