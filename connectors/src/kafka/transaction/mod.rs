//! Exactly once into Kafka.
//!
//! A producer that died cannot go on with its transaction, so the transaction itself is the record of what was committed: with the
//! rows of epoch N it writes one message that says so ([`record`]). The checkpoint becomes durable; all rows of the epoch are in
//! the broker's log; then the transaction ends. After a crash, opening the producers again ends what was left open, the record says
//! whether N became visible, and the checkpoint of just that epoch is restored.
//!
//! All sinks of a job share an [`outbox`]: two producers in turn, so that rows of N + 1 flow while N is committed. They
//! are sent once those of N are stored, which keeps the rows of a key in order. What to do after each answer of the broker is decided
//! in [`protocol`], without I/O.

#[cfg(test)]
mod crash_tests;
mod leftovers;
mod outbox;
#[cfg(test)]
mod outbox_tests;
mod outboxes;
mod producer;
mod protocol;
mod record;

pub use outbox::{Outbox, OutboxSettings};
pub use outboxes::Outboxes;
pub use producer::{RowProducer, Trouble, broken, producer, store, write_to};
pub use protocol::{Ticket, Turn};
