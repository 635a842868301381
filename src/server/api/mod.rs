//! The functions that routes run, by what they are about.

pub mod health;
pub mod jobs;
pub mod lists;
pub mod queries;
pub mod rows;
pub mod sql;
