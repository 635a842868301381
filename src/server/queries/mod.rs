//! Ad-hoc queries over HTTP: one SELECT at a time for whoever asks, gone when the asker goes.
//!
//! `registry` holds all of them within the server's limits. Each has a thread (`run`) that reads its rows, makes
//! messages of them (`message`), and waits while the client does not take them: that is what slows the query down. They
//! go out as the body of an answer (`outlet`) or over a WebSocket (`socket`); a result that is asked for as a whole is
//! kept in pages (`pages`).

mod message;
mod outlet;
mod pages;
mod registry;
mod request;
mod run;
mod socket;
mod stop;

pub use outlet::StreamBody;
pub use pages::Page;
pub use registry::{Queries, QueryLimits};
pub use request::{BODY, QueryRequest, negotiate};
pub use run::{Started, start};
pub use socket::{accept, serve, token};
pub use stop::Waiting;
