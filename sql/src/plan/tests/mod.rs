//! SQL in, operator graph, rows or diagnostic out.

mod diagnostics;
mod explain;
mod fixture;
mod graphs;
mod join_state;
mod robustness;
mod rows;
mod scripts;
mod steady;
