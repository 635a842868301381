//! The server as a real process, talked to over HTTP: its jobs, what survives its death, who may do what.

mod abuse;
mod client;
mod concurrency;
mod configuration;
mod confinement;
mod idle;
mod isolation;
mod kills;
pub mod kit;
mod lane;
mod lifecycle;
mod manifests;
mod mix;
mod posts;
mod prometheus;
mod python;
mod queries;
mod recovery;
mod routes;
pub mod security;
mod top;
mod traces;
mod upgrade;
