//! What our logical plans have beyond DataFusion's nodes.

pub(crate) mod unnest;
pub(crate) mod window;
