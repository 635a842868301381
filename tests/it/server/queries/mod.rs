//! Ad-hoc queries: streamed, in pages, over a WebSocket; who may run them, and what is left when their clients go.

mod clients;
mod kit;
mod latency;
mod limits;
mod many;
mod pages;
mod security;
mod socket;
mod stream;
