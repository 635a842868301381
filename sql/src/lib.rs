//! Streaming SQL text in, operator graph out. Pure: no I/O, no clock; any text gives a plan or diagnostics.
