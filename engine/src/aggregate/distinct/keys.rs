//! How the arguments of DISTINCT become keys of a set, and back.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType};
use arrow::row::{RowConverter, Rows};

use super::damaged;
use super::value::Key;
use crate::Result;
use crate::aggregate::primitive::{Ordered, with_ordered};

/// How argument columns become keys of a set, and back.
pub(super) trait KeyColumns: Send + 'static {
    type Key: Key;
    /// The arguments of a batch, made ready for access by row.
    type Batch;

    fn batch(&self, args: &[ArrayRef]) -> Result<Self::Batch>;

    fn key(batch: &Self::Batch, row: usize) -> <Self::Key as Key>::Ref<'_>;

    fn arrays(&self, keys: &[<Self::Key as Key>::Ref<'_>]) -> Result<Vec<ArrayRef>>;
}

/// One primitive column of at most 64 bits.
pub(super) struct Words(pub DataType);

impl KeyColumns for Words {
    type Key = u64;
    type Batch = Vec<u64>;

    fn batch(&self, args: &[ArrayRef]) -> Result<Vec<u64>> {
        with_ordered!(
            self.0,
            T => Ok(args[0].as_primitive::<T>().values().iter().map(|value| T::to_word(*value)).collect()),
            _ => Err(damaged())
        )
    }

    #[inline(always)]
    fn key(batch: &Vec<u64>, row: usize) -> u64 {
        batch[row]
    }

    fn arrays(&self, keys: &[u64]) -> Result<Vec<ArrayRef>> {
        with_ordered!(
            self.0,
            T => {
                let column = PrimitiveArray::<T>::from_iter_values(keys.iter().map(|key| T::from_word(*key)));
                Ok(vec![Arc::new(column.with_data_type(self.0.clone()))])
            },
            _ => Err(damaged())
        )
    }
}

/// One STRING column.
pub(super) struct Texts;

impl KeyColumns for Texts {
    type Key = Box<[u8]>;
    type Batch = StringArray;

    fn batch(&self, args: &[ArrayRef]) -> Result<Self::Batch> {
        Ok(args[0].as_string::<i32>().clone())
    }

    fn key(batch: &Self::Batch, row: usize) -> &[u8] {
        batch.value(row).as_bytes()
    }

    fn arrays(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let texts: Option<Vec<&str>> = keys.iter().map(|key| std::str::from_utf8(key).ok()).collect();
        Ok(vec![Arc::new(StringArray::from(texts.ok_or_else(damaged)?))])
    }
}

/// Any columns, in row format.
pub(super) struct Encoded(pub RowConverter);

impl KeyColumns for Encoded {
    type Key = Box<[u8]>;
    type Batch = Rows;

    fn batch(&self, args: &[ArrayRef]) -> Result<Rows> {
        Ok(self.0.convert_columns(args)?)
    }

    fn key(batch: &Rows, row: usize) -> &[u8] {
        batch.row(row).data()
    }

    fn arrays(&self, keys: &[&[u8]]) -> Result<Vec<ArrayRef>> {
        let parser = self.0.parser();
        Ok(self.0.convert_rows(keys.iter().map(|key| parser.parse(key)))?)
    }
}

/// True for the types of [`Words`].
pub(super) fn is_word(data_type: &DataType) -> bool {
    with_ordered!(data_type, T => size_of::<<T as ArrowPrimitiveType>::Native>() <= size_of::<u64>(), _ => false)
}
