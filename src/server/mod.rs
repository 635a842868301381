//! `tidemill serve`: many jobs in one process, behind HTTP. The only place that knows HTTP and JSON bodies.
//!
//! A request passes `listen` (connections, TLS, timeouts), `dispatch` (who asks, limits, form), and then a function of
//! the table in `routes`. What is done is in [`crate::jobs`].

mod api;
mod app;
mod auth;
mod config;
mod dispatch;
mod limits;
mod listen;
mod logging;
mod metrics;
mod objects;
mod openapi;
mod options;
mod problem;
mod queries;
mod refused;
mod route;
mod routes;
mod serve;
mod status;
mod tls;
mod token;

pub use config::{Config, ConfigArgs};
pub use serve::{serve, show_config};
pub use status::state_name;
pub use token::{TokenCommand, token};
