//! Sends spans to a collector: a bounded queue, one thread, batches. Whoever records a span never waits; what does not fit is
//! dropped, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use super::encode::{Resource, request};
use super::span::SpanData;

/// About two megabytes: a second of very many requests.
const QUEUE_SPANS_MAX: usize = 4_096;
const BATCH_SPANS_MAX: usize = 512;
/// How long a span waits for others.
const BATCH_PAUSE: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A batch that the collector cannot take is sent again after these pauses, and then dropped.
const RETRY_PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(3)];
const TRACES_PATH: &str = "/v1/traces";

enum Message {
    Span(Box<SpanData>),
    /// Send what there is, then answer.
    Flush(Sender<()>),
}

/// What became of spans.
#[derive(Debug, Default)]
pub struct Counts {
    pub exported: AtomicU64,
    /// They found no place in the queue.
    pub dropped: AtomicU64,
    /// The collector did not take them.
    pub failed: AtomicU64,
}

pub struct Exporter {
    queue: Sender<Message>,
    pub counts: Arc<Counts>,
}

impl Exporter {
    /// `endpoint`: of the collector, such as `http://localhost:4318`.
    pub fn start(endpoint: &str, resource: Resource) -> Result<Self, String> {
        let (queue, messages) = bounded(QUEUE_SPANS_MAX);
        let counts = Arc::new(Counts::default());
        let agent = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER_TIMEOUT));
        let worker = Worker {
            url: url_of(endpoint)?,
            resource,
            messages,
            counts: Arc::clone(&counts),
            agent: agent.build().into(),
            is_lost: false,
        };
        let spawned = thread::Builder::new().name("traces".into()).spawn(move || worker.run());
        spawned.map_err(|error| format!("the thread for traces cannot be started: {error}"))?;
        Ok(Self { queue, counts })
    }

    pub fn record(&self, span: SpanData) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.queue.try_send(Message::Span(Box::new(span)))
        {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was recorded before is sent, or the patience is over.
    pub fn flush(&self, patience: Duration) {
        let (done, is_done) = bounded(1);
        let deadline = Instant::now() + patience;
        if self.queue.send_deadline(Message::Flush(done), deadline).is_ok() {
            let _ = is_done.recv_deadline(deadline);
        }
    }
}

fn url_of(endpoint: &str) -> Result<String, String> {
    let endpoint = endpoint.trim().trim_end_matches('/');
    let uri: ureq::http::Uri = endpoint.parse().map_err(|error| format!("'{endpoint}' is no address: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(format!("'{endpoint}' is no address: write one such as http://localhost:4318"));
    }
    if uri.query().is_some() {
        return Err(format!("'{endpoint}' has a query, which an endpoint cannot have"));
    }
    Ok(if endpoint.ends_with(TRACES_PATH) { endpoint.to_string() } else { format!("{endpoint}{TRACES_PATH}") })
}

struct Worker {
    url: String,
    resource: Resource,
    messages: Receiver<Message>,
    counts: Arc<Counts>,
    agent: ureq::Agent,
    /// The collector did not answer lately: said once, not for every batch.
    is_lost: bool,
}

impl Worker {
    fn run(mut self) {
        let mut batch: Vec<SpanData> = Vec::new();
        let mut due: Option<Instant> = None;
        loop {
            let message = match due {
                Some(due) => self.messages.recv_deadline(due),
                None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let mut asker = None;
            match message {
                Ok(Message::Span(span)) => {
                    batch.push(*span);
                    due = due.or_else(|| Some(Instant::now() + BATCH_PAUSE));
                    if batch.len() < BATCH_SPANS_MAX {
                        continue;
                    }
                }
                Ok(Message::Flush(done)) => asker = Some(done),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.send(&batch);
                    return;
                }
            }
            self.send(&batch);
            batch.clear();
            due = None;
            if let Some(asker) = asker {
                // Whoever asked may have lost patience.
                let _ = asker.send(());
            }
        }
    }

    fn send(&mut self, batch: &[SpanData]) {
        if batch.is_empty() {
            return;
        }
        let body = request(&self.resource, batch).to_string();
        let mut pauses = RETRY_PAUSES.iter();
        let result = loop {
            match self.post(&body) {
                Err(Failure { may_pass: true, .. }) if let Some(pause) = pauses.next() => thread::sleep(*pause),
                result => break result,
            }
        };
        let counter = if result.is_ok() { &self.counts.exported } else { &self.counts.failed };
        counter.fetch_add(batch.len() as u64, Ordering::Relaxed);
        match result {
            Ok(()) if self.is_lost => tracing::info!(url = self.url, "traces are taken again"),
            Err(failure) if !self.is_lost => {
                tracing::warn!(url = self.url, error = failure.text, "traces are not taken, and dropped");
            }
            _ => {}
        }
        self.is_lost = counter as *const AtomicU64 == &self.counts.failed;
    }

    fn post(&self, body: &str) -> Result<(), Failure> {
        let sent = self.agent.post(&self.url).header("content-type", "application/json").send(body);
        let answer = sent.map_err(|error| Failure { text: error.to_string(), may_pass: true })?;
        let status = answer.status().as_u16();
        match status {
            200..=299 => Ok(()),
            // Those that OTLP says are worth another try.
            429 | 502 | 503 | 504 => Err(Failure { text: format!("HTTP {status}"), may_pass: true }),
            _ => Err(Failure { text: format!("HTTP {status}"), may_pass: false }),
        }
    }
}

struct Failure {
    text: String,
    may_pass: bool,
}

#[cfg(test)]
mod tests {
    use super::url_of;

    #[test]
    fn endpoints() {
        for (endpoint, expected) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("https://collector/otlp/", "https://collector/otlp/v1/traces"),
            ("http://c/v1/traces", "http://c/v1/traces"),
        ] {
            assert_eq!(url_of(endpoint).unwrap(), expected);
        }
        for wrong in ["localhost:4318", "grpc://c:4317", "http://", "", "http://c/?a=1", "http://a b"] {
            assert!(url_of(wrong).is_err(), "{wrong}");
        }
    }
}
