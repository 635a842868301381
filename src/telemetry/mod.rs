//! Traces for OpenTelemetry: requests, starts and runs of jobs, checkpoints with their phases, sent to a collector by OTLP over
//! HTTP in JSON. Off unless a collector is named. Written here and not taken from the crates of OpenTelemetry: what is needed of
//! them is one message and one POST, and they would bring a second HTTP client and protobuf along.

mod context;
mod encode;
mod export;
mod jobs;
mod span;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use context::{SpanContext, current, within};
pub use jobs::JobTrace;
pub use span::{Kind, Span};

use encode::Resource;
use export::Exporter;
use span::SpanData;

/// Makes spans; without a collector they are empty.
#[derive(Clone, Default)]
pub struct Tracer(Option<Arc<Exporter>>);

impl Tracer {
    /// `endpoint`: of the collector, such as `http://localhost:4318`.
    pub fn start(endpoint: &str, service: &str) -> Result<Self, String> {
        let instance = uuid::Uuid::new_v4().to_string();
        let resource = Resource { service: service.to_string(), instance };
        Ok(Self(Some(Arc::new(Exporter::start(endpoint, resource)?))))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// A span below `parent`, or the first of a new trace.
    pub fn span(&self, name: impl Into<Cow<'static, str>>, kind: Kind, parent: Option<&SpanContext>) -> Span {
        Span::new(self, name, kind, parent)
    }

    /// Sent, dropped since the queue was full, not taken by the collector. `None` without one.
    pub fn counts(&self) -> Option<[(&'static str, u64); 3]> {
        let counts = &self.0.as_ref()?.counts;
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        Some([
            ("exported", read(&counts.exported)),
            ("dropped", read(&counts.dropped)),
            ("failed", read(&counts.failed)),
        ])
    }

    /// Sends what was recorded, at the program's end.
    pub fn flush(&self, patience: Duration) {
        if let Some(exporter) = &self.0 {
            exporter.flush(patience);
        }
    }

    fn record(&self, span: SpanData) {
        if let Some(exporter) = &self.0 {
            exporter.record(span);
        }
    }
}
