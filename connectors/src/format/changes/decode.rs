//! From envelopes to rows with kinds: envelopes are decoded as JSON rows, then each one gives the one or two rows that
//! it stands for, column by column.

use arrow::array::{Array, ArrayRef, AsArray, Int8Array, RecordBatch, RecordBatchOptions, StringArray, StructArray};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use tidemill_engine::source::Rejected;
use tidemill_engine::{Result, RowKind};

use super::{ChangeOptions, Envelope, SCHEMA_INCLUDE};
use crate::format::flaw::{Flaw, Parsed};
use crate::format::json::decode::JsonDecoder;
use crate::format::rejection::Rejection;
use crate::format::{Block, Decoded, RowDecoder};

/// Which of an envelope's rows: an index into [`Records::rows`].
type Side = usize;

pub(super) struct ChangeDecoder {
    schema: SchemaRef,
    envelope: Envelope,
    json: JsonDecoder,
    rejection: Rejection,
}

/// The columns of a batch of envelopes.
struct Records<'a> {
    envelope: Envelope,
    schema: &'a SchemaRef,
    /// `before` and `after`, or `data`.
    rows: Vec<&'a StructArray>,
    ops: &'a StringArray,
    /// Present or not, where records have a payload.
    payload: Option<&'a StructArray>,
}

/// The rows of a batch, in order: which record, which of its rows, what it does.
#[derive(Default)]
struct Chosen {
    rows: Vec<(Side, usize)>,
    kinds: Vec<i8>,
}

impl ChangeDecoder {
    pub(super) fn new(options: &ChangeOptions, schema: SchemaRef, place: String) -> Result<Self> {
        let json = JsonDecoder::new(&options.json, options.envelope.schema(&schema), place.clone())?.keeping_lines();
        let option = Some(options.json.keys.ignore_parse_errors);
        let rejection = Rejection { ignore: options.json.ignore_parse_errors, option, place };
        Ok(Self { schema, envelope: options.envelope, json, rejection })
    }

    /// The rows of all good envelopes; bad ones join `rejected`.
    fn choose(&self, records: &Records<'_>, block: &Block<'_>, rejected: &mut Vec<Rejected>) -> Result<Chosen> {
        let lines = self.json.lines();
        assert_eq!(lines.len(), records.ops.len(), "one line per record");
        let mut chosen = Chosen::default();
        let decoded = rejected.len();
        for (record, line) in lines.iter().enumerate() {
            if let Err(flaw) = records.choose(record, &mut chosen) {
                let offset = block.offset + line.start as u64;
                self.rejection.reject(&flaw, &block.bytes[line.clone()], offset, rejected)?;
            }
        }
        if rejected.len() > decoded {
            rejected.sort_by_key(|rejected| rejected.offset);
        }
        Ok(chosen)
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
        let Decoded { consumed, rows: envelopes, mut rejected, .. } = self.json.decode(block, rows_max.div_ceil(2))?;
        let records = Records::of(self.envelope, &self.schema, &envelopes);
        let chosen = self.choose(&records, &block, &mut rejected)?;
        let rows = records.rows_of(&chosen)?;
        Ok(Decoded { consumed, rows, kinds: Some(Int8Array::from(chosen.kinds)), rejected })
    }
}

impl<'a> Records<'a> {
    fn of(envelope: Envelope, schema: &'a SchemaRef, batch: &'a RecordBatch) -> Self {
        let (payload, columns) = match envelope {
            Envelope::Debezium { schema_include: true } => {
                let payload = batch.column(0).as_struct();
                (Some(payload), payload.columns())
            }
            _ => (None, batch.columns()),
        };
        let (op, rows) = columns.split_last().expect("an envelope ends with its op");
        let rows = rows.iter().map(|row| row.as_struct()).collect();
        Self { envelope, schema, rows, ops: op.as_string(), payload }
    }

    /// Adds the rows that a record stands for.
    fn choose(&self, record: usize, chosen: &mut Chosen) -> Parsed<()> {
        let op = self.op(record)?;
        let rows: &[(Side, RowKind)] = match (self.envelope, op) {
            (Envelope::Debezium { .. }, "c" | "r") => &[(1, RowKind::Insert)],
            (Envelope::Debezium { .. }, "u") => &[(0, RowKind::UpdateBefore), (1, RowKind::UpdateAfter)],
            (Envelope::Debezium { .. }, "d") => &[(0, RowKind::Delete)],
            (Envelope::Changelog, "+I") => &[(0, RowKind::Insert)],
            (Envelope::Changelog, "-U") => &[(0, RowKind::UpdateBefore)],
            (Envelope::Changelog, "+U") => &[(0, RowKind::UpdateAfter)],
            (Envelope::Changelog, "-D") => &[(0, RowKind::Delete)],
            (Envelope::Debezium { .. }, _) => return Err(unknown_op(op, "c, r, u and d")),
            (Envelope::Changelog, _) => return Err(unknown_op(op, "+I, -U, +U and -D")),
        };
        rows.iter().try_for_each(|(side, _)| self.check(*side, record, op))?;
        chosen.rows.extend(rows.iter().map(|(side, _)| (*side, record)));
        chosen.kinds.extend(rows.iter().map(|(_, kind)| *kind as i8));
        Ok(())
    }

    fn op(&self, record: usize) -> Parsed<&'a str> {
        if self.payload.is_some_and(|payload| payload.is_null(record)) {
            let hint = format!("where records have none, leave '{SCHEMA_INCLUDE}' out");
            return Err(Flaw::new(format!("the record has no \"payload\": {hint}")));
        }
        if self.ops.is_valid(record) {
            return Ok(self.ops.value(record));
        }
        Err(Flaw::new(match self.envelope {
            Envelope::Debezium { schema_include: false } => {
                format!("the record has no \"op\": where it stands in a \"payload\", set '{SCHEMA_INCLUDE}' = 'true'")
            }
            _ => "the record has no \"op\"".to_string(),
        }))
    }

    /// The row is there, and every column that must have a value has one.
    fn check(&self, side: Side, record: usize, op: &str) -> Parsed<()> {
        let row = self.rows[side];
        if row.is_null(record) {
            return Err(self.missing(side, op));
        }
        let required = self.schema.fields().iter().zip(row.columns()).filter(|(field, _)| !field.is_nullable());
        match required.into_iter().find(|(_, column)| column.is_null(record)) {
            Some((field, _)) => Err(Flaw::null().within(field.name())),
            None => Ok(()),
        }
    }

    #[cold]
    fn missing(&self, side: Side, op: &str) -> Flaw {
        match (self.envelope, side) {
            (Envelope::Changelog, _) => Flaw::new(format!("the record has no \"data\", which op \"{op}\" needs")),
            (Envelope::Debezium { .. }, 0) => Flaw::new(format!(
                "the record has no \"before\", which op \"{op}\" needs: let the source tell whole old rows \
                 (in PostgreSQL: ALTER TABLE ... REPLICA IDENTITY FULL)"
            )),
            (Envelope::Debezium { .. }, _) => {
                Flaw::new(format!("the record has no \"after\", which op \"{op}\" needs"))
            }
        }
    }

    fn rows_of(&self, chosen: &Chosen) -> Result<RecordBatch> {
        let column = |index: usize| -> Result<ArrayRef> {
            let sides: Vec<&dyn Array> = self.rows.iter().map(|row| row.column(index).as_ref()).collect();
            Ok(interleave(&sides, &chosen.rows)?)
        };
        let columns = (0..self.schema.fields().len()).map(column).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(chosen.rows.len()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }
}

#[cold]
fn unknown_op(op: &str, known: &str) -> Flaw {
    Flaw::new(format!("op {op:?} is none of {known}"))
}
