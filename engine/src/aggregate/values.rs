//! One value per slot, for the aggregates that keep a whole value: FIRST_VALUE, LAST_VALUE, and MIN and MAX of strings.
//!
//! Three stores behind one trait: primitives as they are, strings and bytes as byte vectors, all else in row format.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, PrimitiveArray, StringArray, StringBuilder};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};

use super::primitive::Ordered;
use crate::Result;

/// A value or nothing for each slot.
pub(super) trait Values: Send + 'static {
    /// A batch's column, made ready for access by row.
    type Column;

    fn column(&self, array: &ArrayRef) -> Result<Self::Column>;

    fn resize(&mut self, slots: usize);

    fn is_set(&self, slot: usize) -> bool;

    fn set(&mut self, slot: usize, column: &Self::Column, row: usize);

    /// How the slot's value, which must be set, compares to a row's.
    fn compare(&self, slot: usize, column: &Self::Column, row: usize) -> Ordering;

    fn clear(&mut self, slot: usize);

    /// The values of the given slots; NULL where nothing is set.
    fn gather(&self, slots: &[u32]) -> Result<ArrayRef>;

    fn size_bytes(&self) -> usize;
}

/// Values of a primitive type.
pub(super) struct Primitives<T: Ordered> {
    values: Vec<Option<T::Native>>,
    data_type: DataType,
}

impl<T: Ordered> Primitives<T> {
    pub(super) fn new(data_type: DataType) -> Self {
        Self { values: Vec::new(), data_type }
    }
}

impl<T: Ordered> Values for Primitives<T> {
    type Column = ScalarBuffer<T::Native>;

    fn column(&self, array: &ArrayRef) -> Result<Self::Column> {
        Ok(array.as_primitive::<T>().values().clone())
    }

    fn resize(&mut self, slots: usize) {
        self.values.resize(slots, None);
    }

    fn is_set(&self, slot: usize) -> bool {
        self.values[slot].is_some()
    }

    fn set(&mut self, slot: usize, column: &Self::Column, row: usize) {
        self.values[slot] = Some(column[row]);
    }

    fn compare(&self, slot: usize, column: &Self::Column, row: usize) -> Ordering {
        match self.values[slot] {
            Some(value) if T::less(value, column[row]) => Ordering::Less,
            Some(value) if T::less(column[row], value) => Ordering::Greater,
            _ => Ordering::Equal,
        }
    }

    fn clear(&mut self, slot: usize) {
        self.values[slot] = None;
    }

    fn gather(&self, slots: &[u32]) -> Result<ArrayRef> {
        let column: PrimitiveArray<T> = slots.iter().map(|slot| self.values[*slot as usize]).collect();
        Ok(Arc::new(column.with_data_type(self.data_type.clone())))
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<T::Native>>()
    }
}

/// Byte vectors with a running count of what they hold on the heap.
#[derive(Default)]
struct ByteSlots {
    values: Vec<Option<Box<[u8]>>>,
    heap_bytes: usize,
}

impl ByteSlots {
    /// Replaces a value; a new value of the same length reuses the old one's memory.
    fn set(&mut self, slot: usize, bytes: &[u8]) {
        match &mut self.values[slot] {
            Some(old) if old.len() == bytes.len() => old.copy_from_slice(bytes),
            other => {
                self.heap_bytes -= other.as_ref().map_or(0, |old| old.len());
                self.heap_bytes += bytes.len();
                *other = Some(bytes.into());
            }
        }
    }

    fn get(&self, slot: usize) -> Option<&[u8]> {
        self.values[slot].as_deref()
    }

    fn clear(&mut self, slot: usize) {
        self.heap_bytes -= self.values[slot].take().map_or(0, |old| old.len());
    }

    fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<Option<Box<[u8]>>>() + self.heap_bytes
    }
}

/// Values of type STRING.
#[derive(Default)]
pub(super) struct Strings(ByteSlots);

/// Values of type BYTES.
#[derive(Default)]
pub(super) struct Binaries(ByteSlots);

/// Values of any type that has a row format; they compare as the row format does.
pub(super) struct Encoded {
    slots: ByteSlots,
    converter: RowConverter,
}

impl Encoded {
    pub(super) fn new(data_type: &DataType) -> Result<Self> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Self { slots: ByteSlots::default(), converter })
    }
}

macro_rules! over_byte_slots {
    ($slots:tt, $bytes:expr) => {
        fn resize(&mut self, slots: usize) {
            self.$slots.values.resize(slots, None);
        }

        fn is_set(&self, slot: usize) -> bool {
            self.$slots.values[slot].is_some()
        }

        fn set(&mut self, slot: usize, column: &Self::Column, row: usize) {
            let bytes: fn(&Self::Column, usize) -> &[u8] = $bytes;
            self.$slots.set(slot, bytes(column, row));
        }

        fn compare(&self, slot: usize, column: &Self::Column, row: usize) -> Ordering {
            let bytes: fn(&Self::Column, usize) -> &[u8] = $bytes;
            self.$slots.get(slot).unwrap_or_default().cmp(bytes(column, row))
        }

        fn clear(&mut self, slot: usize) {
            self.$slots.clear(slot);
        }

        fn size_bytes(&self) -> usize {
            self.$slots.size_bytes()
        }
    };
}

impl Values for Strings {
    type Column = StringArray;

    fn column(&self, array: &ArrayRef) -> Result<StringArray> {
        Ok(array.as_string::<i32>().clone())
    }

    fn gather(&self, slots: &[u32]) -> Result<ArrayRef> {
        let mut column = StringBuilder::with_capacity(slots.len(), 0);
        for slot in slots {
            let text = self.0.get(*slot as usize).map(std::str::from_utf8).transpose();
            column.append_option(text.expect("only whole strings are stored"));
        }
        Ok(Arc::new(column.finish()))
    }

    over_byte_slots!(0, |column, row| column.value(row).as_bytes());
}

impl Values for Binaries {
    type Column = BinaryArray;

    fn column(&self, array: &ArrayRef) -> Result<BinaryArray> {
        Ok(array.as_binary::<i32>().clone())
    }

    fn gather(&self, slots: &[u32]) -> Result<ArrayRef> {
        let mut column = BinaryBuilder::with_capacity(slots.len(), 0);
        slots.iter().for_each(|slot| column.append_option(self.0.get(*slot as usize)));
        Ok(Arc::new(column.finish()))
    }

    over_byte_slots!(0, |column, row| column.value(row));
}

impl Values for Encoded {
    type Column = Rows;

    fn column(&self, array: &ArrayRef) -> Result<Rows> {
        Ok(self.converter.convert_columns(std::slice::from_ref(array))?)
    }

    fn gather(&self, slots: &[u32]) -> Result<ArrayRef> {
        let empty = self.empty_row()?;
        let parser = self.converter.parser();
        let rows = slots.iter().map(|slot| parser.parse(self.slots.get(*slot as usize).unwrap_or(&empty)));
        Ok(self.converter.convert_rows(rows)?.remove(0))
    }

    over_byte_slots!(slots, |column, row| column.row(row).data());
}

impl Encoded {
    /// The row that stands for NULL.
    fn empty_row(&self) -> Result<Vec<u8>> {
        let null = self.converter.convert_rows(std::iter::empty())?.remove(0);
        let null = arrow::array::new_null_array(null.data_type(), 1);
        Ok(self.converter.convert_columns(&[null])?.row(0).data().to_vec())
    }
}
