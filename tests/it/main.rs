//! End-to-end tests: the SQL corpus in all worlds, crash tests on the real program, comparisons with DuckDB,
//! faults of Apache Kafka, the pages of the documentation, and the tidy test. One binary, since each links the whole engine.

mod change_stream;
mod commands;
mod container;
mod corpus;
mod crash;
mod crash_calls;
mod crash_jobs;
mod duckdb;
mod examples;
mod giving_up;
mod kafka;
mod lookups;
mod nexmark;
mod not_run;
mod pages;
mod ports;
mod process;
mod random_queries;
mod repl;
mod server;
mod temperature;
mod tidy;
mod warnings;
