//! Puts rows into session windows: a row leaves when its session is closed, with the window's bounds.
//!
//! A row's session is known only when it closes, so rows wait, encoded, as the state of an aggregate that collects
//! them; everything else is that of [`super::session_aggregate`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, ListBuilder, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};

use crate::Result;
use crate::aggregate::{Accumulators, AggregateCall, AggregateFactory, AggregateSet};
use crate::operator::{Operator, OperatorFactory};
use crate::operators::key_table::KeyColumns;
use crate::operators::keyed_aggregates::NarrowCalls;
use crate::operators::session_aggregate::{SessionCache, SessionOperator, SessionOutput, gap_ms};
use crate::operators::window_aggregate::{WindowProperty, instant_property_column};
use crate::time::assign::Window;
use crate::time::window::WindowSpec;

/// Output: input columns, window_start, window_end, window_time. Rows wait in state until their session closes.
#[derive(Clone)]
pub struct SessionAssign {
    /// A session window.
    pub spec: WindowSpec,
    /// Not read in processing time.
    pub time_column: usize,
    /// The PARTITION BY columns; may be empty.
    pub keys: Vec<usize>,
    pub input: SchemaRef,
    pub schema: SchemaRef,
}

impl OperatorFactory for SessionAssign {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let keys = KeyColumns::new(&self.keys, &self.input)?;
        let collect = AggregateCall {
            display: "rows".into(),
            output: Field::new("rows", rows_type(), true),
            factory: Arc::new(CollectRows { input: self.input.clone() }),
            args: (0..self.input.fields().len()).collect(),
            filter: None,
        };
        let output =
            CollectedRows { converter: row_converter(&self.input)?, zone: self.spec.zone, schema: self.schema.clone() };
        let gap_ms = gap_ms(&self.spec, "SessionAssign")?;
        let cache = SessionCache::new(NarrowCalls::new(&[collect]), gap_ms, None, None)?;
        let (domain, time) = (self.spec.domain, self.time_column);
        Ok(Box::new(SessionOperator::new("SessionAssign", domain, time, keys, cache, Box::new(output))))
    }
}

fn rows_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Binary, true)))
}

fn row_converter(input: &Schema) -> Result<RowConverter> {
    let fields = input.fields().iter().map(|field| SortField::new(field.data_type().clone()));
    Ok(RowConverter::new(fields.collect())?)
}

/// Emits the rows of closed sessions.
struct CollectedRows {
    converter: RowConverter,
    zone: Option<chrono_tz::Tz>,
    schema: SchemaRef,
}

impl SessionOutput for CollectedRows {
    fn rows(
        &self,
        _keys: &KeyColumns,
        _key_bytes: Vec<&[u8]>,
        values: &AggregateSet,
        slots: &[u32],
        windows: &[Window],
    ) -> Result<RecordBatch> {
        let collected = values.evaluate(slots)?;
        let lists = collected[0].as_list::<i32>();
        let parser = self.converter.parser();
        let rows = lists.values().as_binary::<i32>().iter().map(|row| parser.parse(row.unwrap_or(&[])));
        let mut columns = self.converter.convert_rows(rows)?;
        let lengths = (0..lists.len()).map(|slot| lists.value_length(slot) as usize);
        let windows: Vec<Window> =
            windows.iter().zip(lengths).flat_map(|(window, length)| std::iter::repeat_n(*window, length)).collect();
        for property in [WindowProperty::Start, WindowProperty::End, WindowProperty::Time] {
            let kind = self.schema.field(columns.len()).data_type().clone();
            columns.push(instant_property_column(property, &kind, self.zone, &windows));
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// The aggregate that keeps whole rows, in order of arrival.
struct CollectRows {
    input: SchemaRef,
}

impl AggregateFactory for CollectRows {
    fn output_type(&self) -> DataType {
        rows_type()
    }

    fn state_fields(&self) -> Vec<Field> {
        vec![Field::new("rows", rows_type(), true)]
    }

    fn create(&self) -> Result<Box<dyn Accumulators>> {
        Ok(Box::new(RowLists { converter: row_converter(&self.input)?, lists: Vec::new(), size_bytes: 0 }))
    }

    fn merges_retractions(&self) -> bool {
        false
    }
}

struct RowLists {
    converter: RowConverter,
    lists: Vec<Vec<Box<[u8]>>>,
    size_bytes: usize,
}

/// What a row takes beside its bytes: its pointer and what the allocator adds.
const ROW_EXTRA_BYTES: usize = 32;

impl RowLists {
    fn push(&mut self, slot: u32, row: &[u8]) {
        self.size_bytes += row.len() + ROW_EXTRA_BYTES;
        self.lists[slot as usize].push(row.into());
    }
}

impl Accumulators for RowLists {
    fn resize(&mut self, slots: usize) {
        self.lists.resize_with(slots, Vec::new);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], keep: Option<&BooleanArray>) -> Result<()> {
        assert!(keep.is_none(), "rows are collected without a filter");
        let rows = self.converter.convert_columns(args)?;
        slots.iter().zip(rows.iter()).for_each(|(slot, row)| self.push(*slot, row.data()));
        Ok(())
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        let lists = state[0].as_list::<i32>();
        for (slot, list) in slots.iter().zip(lists.iter()) {
            let Some(list) = list else { continue };
            list.as_binary::<i32>().iter().flatten().for_each(|row| self.push(*slot, row));
        }
        Ok(())
    }

    fn state(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(slots)?])
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let mut lists = ListBuilder::new(BinaryBuilder::new());
        for slot in slots {
            self.lists[*slot as usize].iter().for_each(|row| lists.values().append_value(row));
            lists.append(true);
        }
        Ok(Arc::new(lists.finish()))
    }

    fn reset(&mut self, slots: &[u32]) {
        for slot in slots {
            let rows = std::mem::take(&mut self.lists[*slot as usize]);
            self.size_bytes -= rows.iter().map(|row| row.len() + ROW_EXTRA_BYTES).sum::<usize>();
        }
    }

    fn size_bytes(&self) -> usize {
        self.size_bytes + self.lists.capacity() * size_of::<Vec<Box<[u8]>>>()
    }
}
