//! What our logical plans have beyond DataFusion's nodes.

pub(crate) mod set_operation;
pub(crate) mod single_row;
pub(crate) mod temporal;
pub(crate) mod unnest;
pub(crate) mod window;
