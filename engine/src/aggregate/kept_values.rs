//! Values that an aggregate must know one by one: DISTINCT's, and those that MIN, MAX and others may have to give back.
//!
//! The values of a small group are *inline*: part of the one entry that its operator writes for it. A group that outgrows
//! [`INLINE_VALUES_MAX`] keeps them *apart*: an entry each, of which only those are read that a batch asks for, and only
//! those written that have changed. (DISTINCT has a third way between these, see `distinct/set.rs`.) What an accumulator gives as its state is then a short head, and merging that head
//! into an empty slot makes the values of state its own again.
//!
//! Only an operator that offers its state for it has groups apart; all others keep every group inline.

use arrow::array::{ArrayRef, BooleanArray};

use crate::Result;
use crate::state::Visit;

/// A group with more values keeps them apart: less than this is read and written as fast whole. Tests cross it early.
pub(super) const INLINE_VALUES_MAX: usize = if cfg!(test) { 4 } else { 128 };

/// The entries that state keeps for one aggregate call, by the slot of their group and a value's bytes.
pub trait StoredValues {
    /// Calls `visit` for each of these entries that there is, with its number among `keys`.
    fn get_many(&self, keys: &[(u32, Vec<u8>)], visit: &mut dyn FnMut(usize, &[u8]) -> Result<()>) -> Result<()>;

    /// Visits a group's entries in the order of their values, from the first behind `after`.
    fn scan(&self, slot: u32, after: Option<&[u8]>, visit: &mut Visit<'_>) -> Result<()>;
}

/// Takes an entry to be written: slot, value, and what it holds, which is `None` where it goes.
pub type WriteValue<'a> = dyn FnMut(u32, &[u8], Option<&[u8]>) -> Result<()> + 'a;

/// The same for one group.
pub(super) type WriteEntry<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<()> + 'a;

/// An accumulator that can keep the values of large groups apart.
pub trait KeptValues {
    /// Reads what there is of the values in these rows, which are about to be added or taken back.
    fn load_rows(
        &mut self,
        slots: &[u32],
        args: &[ArrayRef],
        keep: Option<&BooleanArray>,
        stored: &dyn StoredValues,
    ) -> Result<()>;

    /// Reads what there is of the values in these partial states, which are about to be merged.
    fn load_partials(&mut self, slots: &[u32], state: &[ArrayRef], stored: &dyn StoredValues) -> Result<()>;

    /// Reads what the results of these groups are computed from.
    fn load_results(&mut self, slots: &[u32], stored: &dyn StoredValues) -> Result<()>;

    /// Hands over what differs from state, of those groups that are large; from then on these are apart.
    fn write_changed(&mut self, slots: &[u32], write: &mut WriteValue<'_>) -> Result<()>;

    /// True where one of these groups is apart.
    fn any_apart(&self, slots: &[u32]) -> bool;
}
