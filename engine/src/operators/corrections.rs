//! Results that are shown more than once, and how those that differ from the last time are told.

use arrow::array::Int8Array;

use super::row_codec::RowCodec;
use crate::batch::RowKind;
use crate::operator::{Collector, MAIN_PORT};
use crate::{Batch, Result};

/// How a result that differs from the last one is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Correction {
    /// -U with the old row, +U with the new one.
    Update,
    /// The new row, appended: the last one counts.
    Append,
}

/// Changed rows as bytes, with their kinds.
#[derive(Default)]
pub struct Changes {
    rows: Vec<Vec<u8>>,
    kinds: Vec<i8>,
}

impl Changes {
    pub fn push(&mut self, kind: RowKind, row: Vec<u8>) {
        self.rows.push(row);
        self.kinds.push(kind as i8);
    }

    /// Emits the rows, if there are any; where corrections are appended they must all be additions.
    pub fn emit(self, codec: &RowCodec, correction: Correction, out: &mut dyn Collector) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = codec.decode(self.rows.iter().map(Vec::as_slice))?;
        let batch = match correction {
            Correction::Append => Batch::new(rows),
            Correction::Update => Batch::with_kinds(rows, Int8Array::from(self.kinds)),
        };
        out.emit(MAIN_PORT, batch)
    }
}
