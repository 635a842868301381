//! The operators that a plan can be made of. One file (or folder) each; this list is the catalogue.

pub mod ahead;
pub mod calc;
pub mod changelog_normalize;
pub mod corrections;
pub mod current_watermark;
pub mod drop_update_before;
pub mod expand;
pub mod expiry;
pub mod first_row;
pub mod group_aggregate;
pub mod interval_join;
pub mod join;
pub mod join_rows;
pub mod key_table;
pub mod keyed_aggregates;
pub mod late;
pub mod limit;
pub mod lookup_join;
pub mod narrow;
mod narrow_case;
pub mod note;
pub mod ordering;
pub mod over;
pub mod projection;
pub mod recent_use;
pub mod row_codec;
pub mod row_error;
pub mod row_times;
pub mod session_aggregate;
pub mod session_assign;
pub mod set_operation;
pub mod single_row;
pub mod sort;
pub mod table_snapshot;
pub mod temporal_join;
#[cfg(test)]
pub mod testing;
pub mod top_n;
pub mod unnest;
pub mod upsert_materialize;
pub mod values_source;
pub mod waiting_rows;
pub mod window_aggregate;
pub mod window_assign;
pub mod window_changes;
pub mod window_fill;
pub mod window_join;
pub mod window_rank;

#[cfg(test)]
mod stateless_tests;
