//! A span while it is being made: what was done, for how long, with what end.

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Tracer;
use super::context::SpanContext;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Server,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    Text(String),
    Integer(i64),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_string())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

pub type Attributes = Vec<(&'static str, Attribute)>;

#[derive(Debug, Clone)]
pub struct SpanEvent {
    pub name: &'static str,
    pub at_ns: u64,
    pub attributes: Attributes,
}

/// A span that is over.
#[derive(Debug, Clone)]
pub struct SpanData {
    pub context: SpanContext,
    pub parent: Option<u64>,
    pub name: Cow<'static, str>,
    pub kind: Kind,
    pub start_ns: u64,
    pub end_ns: u64,
    pub attributes: Attributes,
    pub events: Vec<SpanEvent>,
    /// Spans of other traces that this one has to do with.
    pub links: Vec<SpanContext>,
    /// Why it failed; may be empty.
    pub error: Option<String>,
}

/// Of one span: a job that fails every second for a year shall not take all memory.
const EVENTS_MAX: usize = 128;

/// Ends when it is dropped. Of a trace that nobody wants it is empty, and costs nothing.
pub struct Span {
    tracer: Tracer,
    context: Option<SpanContext>,
    data: Option<Box<SpanData>>,
    begun: Instant,
}

impl Span {
    pub(super) fn new(
        tracer: &Tracer,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        parent: Option<&SpanContext>,
    ) -> Self {
        if !tracer.is_on() {
            return Self { tracer: tracer.clone(), context: None, data: None, begun: Instant::now() };
        }
        let context = parent.map_or_else(SpanContext::root, SpanContext::child);
        Self::named(tracer, name, kind, context, parent.map(|parent| parent.span))
    }

    /// The span that `context` names.
    pub(super) fn named(
        tracer: &Tracer,
        name: impl Into<Cow<'static, str>>,
        kind: Kind,
        context: SpanContext,
        parent: Option<u64>,
    ) -> Self {
        let (begun, now) = (Instant::now(), unix_ns());
        let data = context.is_sampled.then(|| {
            Box::new(SpanData {
                context: context.clone(),
                parent,
                name: name.into(),
                kind,
                start_ns: now,
                end_ns: now,
                attributes: Vec::new(),
                events: Vec::new(),
                links: Vec::new(),
                error: None,
            })
        });
        Self { tracer: tracer.clone(), context: Some(context), data, begun }
    }

    /// What children of this span are made with.
    pub fn context(&self) -> Option<SpanContext> {
        self.context.clone()
    }

    pub fn set(&mut self, key: &'static str, value: impl Into<Attribute>) {
        if let Some(data) = &mut self.data {
            data.attributes.push((key, value.into()));
        }
    }

    pub fn event(&mut self, name: &'static str, attributes: Attributes) {
        if let Some(data) = self.data.as_mut().filter(|data| data.events.len() < EVENTS_MAX) {
            data.events.push(SpanEvent { name, at_ns: unix_ns(), attributes });
        }
    }

    pub fn link(&mut self, other: Option<SpanContext>) {
        if let (Some(data), Some(other)) = (&mut self.data, other) {
            data.links.push(other);
        }
    }

    pub fn fail(&mut self, why: impl Into<String>) {
        if let Some(data) = &mut self.data {
            data.error = Some(why.into());
        }
    }

    /// Ends it with the times that it had, for what is told of when it is over already.
    pub fn lasted(mut self, start_ns: u64, took: Duration) {
        if let Some(mut data) = self.data.take() {
            data.start_ns = start_ns;
            data.end_ns = start_ns.saturating_add(ns(took));
            self.tracer.record(*data);
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(mut data) = self.data.take() {
            // The wall clock may have been set meanwhile.
            data.end_ns = data.start_ns.saturating_add(ns(self.begun.elapsed()));
            self.tracer.record(*data);
        }
    }
}

/// So long before now.
pub fn ns_before_now(ago: Duration) -> u64 {
    unix_ns().saturating_sub(ns(ago))
}

fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ns)
}

pub fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
