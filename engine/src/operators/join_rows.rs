//! What joins over time share: rows that were read back from state, and the rows that pairs become.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{filter_record_batch, prep_null_mask_filter, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::JoinType;
use datafusion_physical_expr::PhysicalExpr;

use super::key_table::{BatchKeys, KeyColumns};
use super::projection::with_schema;
use super::row_codec::RowCodec;
use crate::time::EventTime;
use crate::{EngineError, Result};

pub const LEFT: usize = 0;
pub const RIGHT: usize = 1;

/// One input of a join.
#[derive(Clone)]
pub struct JoinInput {
    pub schema: SchemaRef,
    /// Columns that must equal those of the other input; none means that all rows meet.
    pub keys: Vec<usize>,
}

/// The time that is certainly over at a watermark: rows as old as the watermark itself still come in time, as they do for
/// session windows.
pub fn settled(watermark: EventTime) -> EventTime {
    match watermark {
        EventTime::MIN | EventTime::MAX => watermark,
        EventTime(ms) => EventTime(ms - 1),
    }
}

/// What a join does with rows beyond pairing them.
pub fn keeps_unmatched(kind: JoinType, side: usize) -> bool {
    match side {
        LEFT => matches!(kind, JoinType::Left | JoinType::Full | JoinType::LeftAnti),
        _ => matches!(kind, JoinType::Right | JoinType::Full),
    }
}

/// True for joins that give the left row alone, once.
pub fn gives_left_only(kind: JoinType) -> bool {
    matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti)
}

/// The schema of a join's output: columns of a side that may be absent can be NULL.
pub fn joined_schema(kind: JoinType, left: &Schema, right: &Schema) -> SchemaRef {
    let side = |schema: &Schema, nullable: bool| -> Vec<_> {
        let fields = schema.fields().iter().map(|field| field.as_ref().clone());
        fields.map(|field| if nullable { field.with_nullable(true) } else { field }).collect()
    };
    let mut fields = side(left, keeps_unmatched(kind, RIGHT));
    if !gives_left_only(kind) {
        fields.extend(side(right, keeps_unmatched(kind, LEFT)));
    }
    Arc::new(Schema::new(fields))
}

/// Byte strings one behind the other.
#[derive(Default)]
pub struct ByteRows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl ByteRows {
    pub fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    pub fn extend_from(&mut self, row: Option<&[u8]>) {
        row.into_iter().for_each(|row| self.push(row));
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// An input's keys and the form in which its rows are stored.
pub struct Side {
    pub keys: KeyColumns,
    pub codec: RowCodec,
    key_columns: Vec<usize>,
}

impl Side {
    pub fn new(input: &JoinInput) -> Result<Self> {
        let keys = KeyColumns::new(&input.keys, &input.schema)?;
        Ok(Self { keys, codec: RowCodec::new(&input.schema)?, key_columns: input.keys.clone() })
    }

    pub fn encode_keys(&self, rows: &RecordBatch) -> Result<BatchKeys> {
        self.keys.encode(rows)
    }

    /// True for rows whose key has a NULL, which equals nothing.
    pub fn null_keys(&self, rows: &RecordBatch) -> Vec<bool> {
        let mut null = vec![false; rows.num_rows()];
        for column in self.key_columns.iter().map(|index| rows.column(*index)) {
            let Some(nulls) = column.logical_nulls() else { continue };
            null.iter_mut().zip(nulls.iter()).for_each(|(null, valid)| *null |= !valid);
        }
        null
    }
}

/// Makes the output of a join out of its sides' rows.
pub struct JoinedRows {
    kind: JoinType,
    /// Over the left columns, then the right ones.
    condition: Option<Arc<dyn PhysicalExpr>>,
    inputs: [SchemaRef; 2],
    /// Left columns, then right ones.
    pairs: SchemaRef,
    schema: SchemaRef,
}

impl JoinedRows {
    /// Errors where `schema` has not the columns that a join of this kind gives.
    pub fn new(
        kind: JoinType,
        inputs: [SchemaRef; 2],
        condition: Option<Arc<dyn PhysicalExpr>>,
        schema: SchemaRef,
    ) -> Result<Self> {
        let given = joined_schema(kind, &inputs[LEFT], &inputs[RIGHT]);
        let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
        if types(&given) != types(&schema) {
            return Err(EngineError::Unsupported(format!("a {kind} JOIN gives other columns than {schema:?}")));
        }
        let pairs = joined_schema(JoinType::Full, &inputs[LEFT], &inputs[RIGHT]);
        Ok(Self { kind, condition, inputs, pairs, schema })
    }

    pub fn kind(&self) -> JoinType {
        self.kind
    }

    /// Of the output.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Left and right rows side by side, and which of them meet the condition (`None`: all).
    pub fn pair(&self, left: &RecordBatch, right: &RecordBatch) -> Result<(RecordBatch, Option<BooleanArray>)> {
        assert_eq!(left.num_rows(), right.num_rows(), "a pair has two rows");
        let columns = left.columns().iter().chain(right.columns()).cloned().collect();
        let pairs = with_schema(&self.pairs, columns, left.num_rows())?;
        let Some(condition) = &self.condition else { return Ok((pairs, None)) };
        let value = condition.evaluate(&pairs)?.into_array(pairs.num_rows())?;
        let Some(keep) = value.as_boolean_opt() else {
            return Err(EngineError::Unsupported(format!("the join condition {condition} is not a BOOLEAN")));
        };
        let keep = if keep.null_count() == 0 { keep.clone() } else { prep_null_mask_filter(keep) };
        Ok((pairs, (keep.true_count() < keep.len()).then_some(keep)))
    }

    /// Output rows out of pairs.
    pub fn matched(&self, pairs: RecordBatch, keep: Option<&BooleanArray>) -> Result<RecordBatch> {
        assert!(!gives_left_only(self.kind), "this join gives no pairs");
        let kept = match keep {
            None => pairs,
            Some(keep) => filter_record_batch(&pairs, keep)?,
        };
        with_schema(&self.schema, kept.columns().to_vec(), kept.num_rows())
    }

    /// Output rows out of rows of one side that have no partner (or, of semi joins, have one).
    pub fn alone(&self, side: usize, rows: &RecordBatch) -> Result<RecordBatch> {
        let own = rows.columns().iter().cloned();
        let absent = |side: usize| -> Vec<ArrayRef> {
            let fields = self.inputs[side].fields().iter();
            fields.map(|field| new_null_array(field.data_type(), rows.num_rows())).collect()
        };
        let columns = match side {
            LEFT if gives_left_only(self.kind) => own.collect(),
            LEFT => own.chain(absent(RIGHT)).collect(),
            _ => absent(LEFT).into_iter().chain(own).collect(),
        };
        with_schema(&self.schema, columns, rows.num_rows())
    }
}

/// The rows with these numbers.
pub fn pick(rows: &RecordBatch, numbers: &[u32]) -> Result<RecordBatch> {
    if rows.num_columns() == 0 {
        return with_schema(rows.schema_ref(), Vec::new(), numbers.len());
    }
    Ok(take_record_batch(rows, &UInt32Array::from(numbers.to_vec()))?)
}
