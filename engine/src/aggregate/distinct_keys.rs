//! How the arguments of DISTINCT become keys of a set, and back.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray, StringArray};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows};

use super::distinct_set::Key;
use super::primitive::Ordered;
use crate::{EngineError, Result};

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
pub(super) struct Words<T> {
    data_type: DataType,
    marker: PhantomData<fn() -> T>,
}

impl<T> Words<T> {
    pub(super) fn new(data_type: &DataType) -> Self {
        Self { data_type: data_type.clone(), marker: PhantomData }
    }
}

impl<T: Ordered> KeyColumns for Words<T> {
    type Key = u64;
    type Batch = PrimitiveArray<T>;

    fn batch(&self, args: &[ArrayRef]) -> Result<Self::Batch> {
        Ok(args[0].as_primitive::<T>().clone())
    }

    #[inline(always)]
    fn key(batch: &Self::Batch, row: usize) -> u64 {
        T::to_word(batch.values()[row])
    }

    fn arrays(&self, keys: &[u64]) -> Result<Vec<ArrayRef>> {
        let column = PrimitiveArray::<T>::from_iter_values(keys.iter().map(|key| T::from_word(*key)));
        Ok(vec![Arc::new(column.with_data_type(self.data_type.clone()))])
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

fn damaged() -> EngineError {
    EngineError::Internal { place: "distinct aggregate".into(), reason: "the state cannot be read".into() }
}
