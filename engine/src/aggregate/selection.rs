//! Which rows of a batch an aggregate sees, and the loops over them.
//!
//! A selection is `None` when every row counts: that loop has no branch per row. Everything here is generic and
//! inlined into the accumulator that uses it; nothing is called dynamically per row.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::NullBuffer;

use super::RunningRows;

/// The rows to use; `None` means all of them.
pub(crate) type Selection = Option<NullBuffer>;

/// The rows where `keep` is true and no argument is NULL.
pub(crate) fn select(args: &[ArrayRef], keep: Option<&BooleanArray>) -> Selection {
    let nulls = args.iter().map(|arg| arg.logical_nulls()).fold(None, union);
    trim(union(nulls, keep.map(kept)))
}

/// The rows where `keep` is true, NULL arguments included.
pub(crate) fn select_kept(keep: Option<&BooleanArray>) -> Selection {
    trim(keep.map(kept))
}

fn kept(keep: &BooleanArray) -> NullBuffer {
    match keep.nulls() {
        None => NullBuffer::new(keep.values().clone()),
        Some(valid) => NullBuffer::new(keep.values() & valid.inner()),
    }
}

fn union(left: Selection, right: Selection) -> Selection {
    NullBuffer::union(left.as_ref(), right.as_ref())
}

/// A selection of every row is better none at all.
fn trim(selection: Selection) -> Selection {
    selection.filter(|rows| rows.null_count() > 0)
}

/// Calls `visit(slot, value)` for each selected row.
#[inline(always)]
pub(crate) fn for_each_value<T: Copy>(
    slots: &[u32],
    values: &[T],
    selection: &Selection,
    mut visit: impl FnMut(usize, T),
) {
    assert_eq!(slots.len(), values.len(), "one slot per row");
    match selection {
        None => slots.iter().zip(values).for_each(|(slot, value)| visit(*slot as usize, *value)),
        Some(rows) => rows.valid_indices().for_each(|row| visit(slots[row] as usize, values[row])),
    }
}

impl RunningRows<'_> {
    /// The slot of each stretch, and those of its rows that are selected.
    #[inline(always)]
    pub(crate) fn stretches<'s>(
        &'s self,
        selection: &'s Selection,
    ) -> impl Iterator<Item = (usize, impl Iterator<Item = usize> + 's)> + 's {
        debug_assert_eq!(self.ends.last().map_or(0, |end| *end as usize), self.slots.len(), "each row is in a stretch");
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let rows = start..*end as usize;
            start = rows.end;
            let is_selected = move |row: &usize| selection.as_ref().is_none_or(|rows| rows.is_valid(*row));
            (self.slots[rows.start] as usize, rows.filter(is_selected))
        })
    }
}

/// Calls `visit(slot, row)` for each selected row.
#[inline(always)]
pub(crate) fn for_each_row(slots: &[u32], selection: &Selection, mut visit: impl FnMut(usize, usize)) {
    match selection {
        None => slots.iter().enumerate().for_each(|(row, slot)| visit(*slot as usize, row)),
        Some(rows) => rows.valid_indices().for_each(|row| visit(slots[row] as usize, row)),
    }
}
