//! The way of a query's messages to its client: a short queue that makes the query wait while the client does not read.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::message::Framing;
use super::stop::{Reason, Stop, Waiting};
use crate::jobs::secrets::Redactor;
use crate::server::listen::Hangup;

/// With messages of 256 KB, one megabyte waits for a client at most.
const MESSAGES_WAITING_MAX: usize = 4;
/// A client that had stalled has so long to read why its query ended, before its connection is cut.
const LAST_WORDS_TIME: Duration = Duration::from_secs(5);

/// What stays behind when the query has ended: its last message, however full the queue was.
type Last = Arc<Mutex<Option<Bytes>>>;

/// The query's end.
pub struct Outlet {
    messages: mpsc::Sender<Bytes>,
    last: Last,
    framing: Framing,
    redactor: Redactor,
    runtime: Handle,
    stall_timeout: Duration,
    hangup: Option<Hangup>,
}

/// The client's end: the body of an answer. The query ends when it is dropped.
pub struct StreamBody {
    messages: mpsc::Receiver<Bytes>,
    last: Last,
    _waiting: Waiting,
}

impl Outlet {
    /// Called on a thread of the runtime.
    pub fn open(
        framing: Framing,
        redactor: Redactor,
        stall_timeout: Duration,
        hangup: Option<Hangup>,
        stop: Arc<Stop>,
    ) -> (Self, StreamBody) {
        let (sender, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        let last = Last::default();
        let body = StreamBody { messages, last: Arc::clone(&last), _waiting: Waiting(stop) };
        let runtime = Handle::current();
        (Self { messages: sender, last, framing, redactor, runtime, stall_timeout, hangup }, body)
    }

    /// Waits while the queue is full, up to the server's patience.
    pub fn send(&self, event: &str, object: &str, stop: &Stop) -> Result<(), Reason> {
        let framed = self.framing.frame(event, &self.redactor.hide(object));
        let framed = match self.messages.try_send(framed) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(Reason::ClientGone),
            Err(TrySendError::Full(framed)) => framed,
        };
        let sent = self.runtime.block_on(stop.unless(self.stall_timeout, self.messages.send(framed)));
        sent?.map_err(|_| Reason::ClientGone)
    }

    /// The last message; returns at once.
    pub fn finish(self, event: &str, object: &str) {
        *self.last.lock() = Some(self.framing.frame(event, &self.redactor.hide(object)));
    }

    /// As [`Self::finish`], for a client that does not read: its connection goes, if need be.
    pub fn finish_stalled(self, event: &str, object: &str) {
        *self.last.lock() = Some(self.framing.frame(event, &self.redactor.hide(object)));
        let Some(hangup) = self.hangup else { return };
        let (messages, runtime) = (self.messages.downgrade(), self.runtime.clone());
        drop(self.messages);
        runtime.spawn(async move {
            tokio::time::sleep(LAST_WORDS_TIME).await;
            drop(messages);
            hangup.cut();
        });
    }
}

impl StreamBody {
    /// The next message, for those who do not read a body.
    pub async fn next(&mut self) -> Option<Bytes> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.messages.poll_recv(context) {
            Poll::Ready(None) => Poll::Ready(self.last.lock().take()),
            other => other,
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_next(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
