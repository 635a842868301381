//! Many jobs in one process: their durable records, what may be done to them, and the supervisor that does it.
//!
//! Knows no HTTP. What is decided (at start, on a request, about state) is in [`decide`] and [`compare`], without I/O.

mod actions;
mod adhoc;
pub mod compare;
mod confine;
pub mod decide;
mod inlets;
mod logbook;
mod plan;
pub mod reach;
mod record;
mod refusal;
mod run;
mod savepoints;
pub mod secrets;
mod store;
mod supervisor;
mod upgrade;

pub use actions::{NewJob, StartFrom};
pub use adhoc::{Adhoc, AdhocRequest};
pub use decide::Phase;
pub use inlets::{CONTENT_TYPES, Post};
pub use plan::{CatalogObject, PlanRequest, Planned, Planner, shown_sql};
pub use record::{AuditEntry, JobRecord, now_ms};
pub use refusal::Refusal;
pub use savepoints::NAME_CHARS_MAX;
pub use store::JobStore;
pub use supervisor::{JobView, Limits, Supervisor};
pub use upgrade::Upgrade;
