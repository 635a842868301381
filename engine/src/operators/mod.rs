//! The operators that a plan can be made of. One file (or folder) each; this list is the catalogue.

pub mod group_aggregate;
pub mod session_aggregate;
pub mod session_assign;
pub mod window_aggregate;
pub mod window_assign;
