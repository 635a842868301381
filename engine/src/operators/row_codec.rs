//! Whole rows as bytes, and back: what operators that keep rows write into their state.
//!
//! A batch is encoded or decoded at once; there is no work per value outside of the columns' own kernels. Equal rows
//! have equal bytes (NULL equals NULL), so that a retraction finds the row that it takes back. Maps are equal when they
//! list the same entries in the same order.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::Rows;

use super::projection::{cast_to, with_schema};
use crate::Result;
use crate::keys::KeyEncoder;

/// Encodes and decodes rows of one schema.
pub struct RowCodec {
    /// `None` for rows without columns, all of which are equal.
    encoder: Option<KeyEncoder>,
    schema: SchemaRef,
}

/// The rows of a batch as bytes.
pub struct EncodedRows {
    rows: Option<Rows>,
    row_count: usize,
}

impl RowCodec {
    /// Errors where a column's type has no encoding.
    pub fn new(schema: &SchemaRef) -> Result<Self> {
        let types: Vec<_> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
        let encoder = if types.is_empty() { None } else { Some(KeyEncoder::new(&types)?) };
        Ok(Self { encoder, schema: schema.clone() })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns must have the types of the schema.
    pub fn encode(&self, rows: &RecordBatch) -> Result<EncodedRows> {
        let encode = |encoder: &KeyEncoder| encoder.encode(rows.columns());
        Ok(EncodedRows { rows: self.encoder.as_ref().map(encode).transpose()?, row_count: rows.num_rows() })
    }

    /// The rows that `encode` once gave these bytes for, in this order.
    pub fn decode<'a>(&self, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let row_count = rows.len();
        let columns = self.encoder.as_ref().map_or_else(|| Ok(Vec::new()), |encoder| encoder.decode(rows))?;
        let columns = columns.into_iter().zip(self.schema.fields());
        // What the encoding does not tell apart (dictionaries) comes back as plain values.
        let columns = columns.map(|(column, field)| cast_to(column, field.data_type()));
        with_schema(&self.schema, columns.collect::<Result<Vec<ArrayRef>>>()?, row_count)
    }
}

impl EncodedRows {
    pub fn len(&self) -> usize {
        self.row_count
    }

    pub fn is_empty(&self) -> bool {
        self.row_count == 0
    }

    pub fn row(&self, index: usize) -> &[u8] {
        assert!(index < self.row_count, "row {index} of {}", self.row_count);
        self.rows.as_ref().map_or(&[], |rows| rows.row(index).data())
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.row_count).map(|index| self.row(index))
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
    fn rows_without_columns_are_only_counted() {
        let schema = Arc::new(Schema::empty());
        let codec = RowCodec::new(&schema).unwrap();
        let bytes = codec.encode(&with_schema(&schema, Vec::new(), 3).unwrap()).unwrap();
        assert_eq!((bytes.len(), bytes.row(2)), (3, &[][..]));
        assert_eq!(codec.decode(bytes.iter()).unwrap().num_rows(), 3);
    }
}
