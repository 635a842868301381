//! The server as a real process, talked to over HTTP: its jobs, what survives its death, who may do what.

mod client;
mod concurrency;
mod configuration;
mod confinement;
mod kit;
mod lifecycle;
mod manifests;
mod posts;
mod prometheus;
mod recovery;
mod routes;
mod security;
mod upgrade;
