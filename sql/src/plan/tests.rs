//! SQL in, operator graph out.
