//! How a query is told to end before its rows do: by its client's going, by a request, by the server's end.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Why a query ends although its input has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nobody reads any more.
    ClientGone,
    /// It was asked to.
    Cancelled,
    ServerEnding,
    /// Its client took nothing for too long.
    ClientStalled,
    /// It gave as many rows as were asked for.
    RowsMax,
    /// It took longer than an answer may.
    TookTooLong,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Self::ClientGone => "client-gone",
            Self::Cancelled => "cancelled",
            Self::ServerEnding => "server-ending",
            Self::ClientStalled => "client-stalled",
            Self::RowsMax => "rows-max",
            Self::TookTooLong => "took-too-long",
        }
    }
}

/// Wakes the query's thread, whether it waits for rows or for the client.
pub struct Stop {
    reason: Mutex<Option<Reason>>,
    wake: Sender<()>,
    woken: Receiver<()>,
    notify: Notify,
}

impl Stop {
    pub fn new() -> Self {
        let (wake, woken) = bounded(1);
        Self { reason: Mutex::new(None), wake, woken, notify: Notify::new() }
    }

    /// The first reason counts. Returns at once.
    pub fn ask(&self, reason: Reason) {
        self.reason.lock().get_or_insert(reason);
        let _ = self.wake.try_send(());
        self.notify.notify_one();
    }

    pub fn asked(&self) -> Option<Reason> {
        *self.reason.lock()
    }

    /// Something comes from it once the query is to end.
    pub fn woken(&self) -> &Receiver<()> {
        &self.woken
    }

    /// Waits for work that may take as long as this, unless the query is to end before.
    pub async fn unless<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Result<T, Reason> {
        tokio::select! {
            done = work => Ok(done),
            () = self.notify.notified() => Err(self.asked().unwrap_or(Reason::Cancelled)),
            () = tokio::time::sleep(patience) => Err(Reason::ClientStalled),
        }
    }
}

/// Held by whoever waits for the query: it ends when this is let go of.
pub struct Waiting(pub Arc<Stop>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.ask(Reason::ClientGone);
    }
}
