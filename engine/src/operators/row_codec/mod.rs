//! Whole rows as bytes, and back: what operators that keep rows write into their state.
//!
//! A batch is encoded or decoded at once. Equal rows have equal bytes (NULL equals NULL), so that a retraction finds the row that it
//! takes back, and bytes sort as the rows do by their columns. Maps are equal when they list the same entries in the same order.

mod cells;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;

pub use self::cells::Number;
use self::cells::{Cells, Form};
use super::projection::{cast_to, with_schema};
use crate::Result;

/// Encodes and decodes rows of one schema.
pub struct RowCodec {
    /// One per column.
    forms: Vec<Form>,
    schema: SchemaRef,
}

/// The rows of a batch as bytes.
pub struct EncodedRows {
    bytes: Vec<u8>,
    /// Where each row ends; it starts where the one before ends.
    ends: Vec<usize>,
}

impl RowCodec {
    /// Errors where a column's type has no encoding.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let forms = schema.fields().iter().map(|field| Form::of(field.data_type())).collect::<Result<_>>()?;
        Ok(Self { forms, schema: schema.clone() })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns must have the types of the schema.
    pub fn encode(&self, rows: &RecordBatch) -> Result<EncodedRows> {
        self.encode_some(rows, 0..rows.num_rows())
    }

    /// These rows of a batch.
    pub fn encode_some(&self, rows: &RecordBatch, chosen: impl ExactSizeIterator<Item = usize>) -> Result<EncodedRows> {
        let cells = self.forms.iter().zip(rows.columns()).map(|(form, column)| form.cells(column));
        let cells: Vec<Cells<'_>> = cells.collect::<Result<_>>()?;
        let all_bytes: usize = cells.iter().map(Cells::size_bytes).sum();
        let mut bytes = Vec::with_capacity(all_bytes / rows.num_rows().max(1) * chosen.len());
        let mut ends = Vec::with_capacity(chosen.len());
        for row in chosen {
            cells.iter().for_each(|cells| cells.write(row, &mut bytes));
            ends.push(bytes.len());
        }
        Ok(EncodedRows { bytes, ends })
    }

    /// The rows that `encode` once gave these bytes for, in this order. Errors where it gave none of them.
    pub fn decode<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let mut rows: Vec<&[u8]> = rows.collect();
        let columns = self.forms.iter().zip(self.schema.fields()).map(|(form, field)| {
            // What the encoding does not tell apart (dictionaries) comes back as plain values.
            cast_to(form.take(field.data_type(), &mut rows)?, field.data_type())
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        if rows.iter().any(|rest| !rest.is_empty()) {
            return Err(cells::damaged());
        }
        with_schema(&self.schema, columns, rows.len())
    }
}

impl EncodedRows {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn row(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.row(index))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int32Builder, ListArray,
        MapBuilder, StringArray, StringBuilder, StructArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema};

    use super::*;

    fn rows_of_every_shape() -> RecordBatch {
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("a");
        map.values().append_null();
        map.append(true).unwrap();
        map.append(false).unwrap();
        map.append(true).unwrap();
        let fields: Fields = vec![
            Field::new("x", DataType::Int32, true),
            Field::new("y", DataType::List(Arc::new(Field::new_list_field(DataType::Int32, true))), true),
        ]
        .into();
        let lists =
            || ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(7), None, Some(-1)]));
        let structs = StructArray::new(fields, vec![numbers, Arc::new(lists())], Some(vec![true, true, false].into()));
        let zoned = TimestampMillisecondArray::from(vec![Some(1), None, Some(-1)]).with_timezone("UTC");
        let decimals =
            Decimal128Array::from(vec![Some(12345), None, Some(-5)]).with_precision_and_scale(10, 2).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![Some(""), None, Some("long enough to need more than one block of bytes")])),
            Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\0\xff"), None, Some(b"")])),
            Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::NAN)])),
            Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])),
            Arc::new(Date32Array::from(vec![Some(1), None, Some(-1)])),
            Arc::new(zoned),
            Arc::new(decimals),
            Arc::new(lists()),
            Arc::new(structs),
            Arc::new(map.finish()),
        ];
        let fields =
            columns.iter().enumerate().map(|(i, one)| Field::new(format!("c{i}"), one.data_type().clone(), true));
        RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns).unwrap()
    }

    #[test]
    fn rows_of_every_type_come_back_in_any_order() {
        let rows = rows_of_every_shape();
        let codec = RowCodec::new(&rows.schema()).unwrap();
        let bytes = codec.encode(&rows).unwrap();
        let decoded = codec.decode([2, 0, 1, 2].map(|row| bytes.row(row)).into_iter()).unwrap();
        let wanted =
            arrow::compute::take_record_batch(&rows, &arrow::array::UInt32Array::from(vec![2, 0, 1, 2])).unwrap();
        assert_eq!(super::super::testing::rows_as_text(&decoded), super::super::testing::rows_as_text(&wanted));
        assert_eq!(decoded.schema(), rows.schema());
        assert!(codec.encode(&decoded).unwrap().iter().eq([2, 0, 1, 2].map(|row| bytes.row(row)).into_iter()));
    }

    #[test]
    fn bytes_sort_as_rows_do() {
        let texts =
            [None, Some(""), Some("\0"), Some("\0\0"), Some("\0a"), Some("a"), Some("a\0"), Some("a\u{1}"), Some("ab")];
        let numbers = [None, Some(i64::MIN), Some(-256), Some(-1), Some(0), Some(1), Some(255), Some(i64::MAX)];
        let floats =
            [None, Some(f64::NEG_INFINITY), Some(-1.5), Some(-0.0), Some(0.0), Some(1e-300), Some(2.0), Some(f64::NAN)];
        let flags = [None, Some(false), Some(true)];
        let mut rows = Vec::new();
        for text in texts {
            for number in numbers {
                rows.extend(floats.into_iter().flat_map(|float| flags.map(|flag| (text, number, float, flag))));
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter(rows.iter().map(|row| row.0))),
            Arc::new(arrow::array::Int64Array::from_iter(rows.iter().map(|row| row.1))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|row| row.2))),
            Arc::new(BooleanArray::from_iter(rows.iter().map(|row| row.3))),
        ];
        let rows = RecordBatch::try_from_iter(["a", "b", "c", "d"].into_iter().zip(columns)).unwrap();
        let codec = RowCodec::new(&rows.schema()).unwrap();
        let bytes = codec.encode(&rows).unwrap();
        assert!(bytes.iter().is_sorted_by(|one, other| one < other));
        assert_eq!(codec.decode(bytes.iter()).unwrap(), rows);
        // Of a part of longer columns, too, and of some rows.
        let part = rows.slice(700, 300);
        assert!(codec.encode(&part).unwrap().iter().eq(bytes.iter().skip(700).take(300)));
        let some = codec.encode_some(&part, (0..300).step_by(7)).unwrap();
        assert!(some.iter().eq(bytes.iter().skip(700).take(300).step_by(7)));
    }

    #[test]
    fn bytes_that_are_no_row_are_an_error() {
        // Arrow's rows, which lists and the like are, are not checked.
        let rows = rows_of_every_shape().project(&[0, 1, 2, 3, 4, 5, 6]).unwrap();
        let codec = RowCodec::new(&rows.schema()).unwrap();
        let bytes = codec.encode(&rows).unwrap();
        for row in bytes.iter() {
            let longer = [row, &[0]].concat();
            for damaged in (0..row.len()).map(|length| &row[..length]).chain([longer.as_slice()]) {
                assert!(codec.decode([damaged].into_iter()).is_err(), "{damaged:?} of {row:?}");
            }
        }
        let text = Arc::new(Schema::new(vec![Field::new("text", DataType::Utf8, true)]));
        let codec = RowCodec::new(&text).unwrap();
        for damaged in [&[2, b'a', 0][..], &[1, 0xc3, 0], &[1, b'a', 0, 0xff]] {
            assert!(codec.decode([damaged].into_iter()).is_err(), "{damaged:?}");
        }
    }

    #[test]
    fn rows_without_columns_are_only_counted() {
        let schema = Arc::new(Schema::empty());
        let codec = RowCodec::new(&schema).unwrap();
        let bytes = codec.encode(&with_schema(&schema, Vec::new(), 3).unwrap()).unwrap();
        assert_eq!((bytes.len(), bytes.row(2)), (3, &[][..]));
        assert_eq!(codec.decode(bytes.iter()).unwrap().num_rows(), 3);
    }
}
