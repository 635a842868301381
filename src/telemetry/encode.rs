//! Spans as OTLP wants them in JSON: ids in hexadecimal, 64-bit numbers as texts.

use serde_json::{Value, json};

use super::context::SpanContext;
use super::span::{Attribute, Kind, SpanData, SpanEvent};

/// Codes of `Span.Kind` and `Status.StatusCode`.
const KIND_INTERNAL: u8 = 1;
const KIND_SERVER: u8 = 2;
const STATUS_ERROR: u8 = 2;

/// Of what program the spans are.
#[derive(Debug, Clone)]
pub struct Resource {
    pub service: String,
    /// Tells this process from the one before it.
    pub instance: String,
}

/// The body of a request to a collector.
pub fn request(resource: &Resource, spans: &[SpanData]) -> Value {
    let attributes = [
        ("service.name", Attribute::from(resource.service.as_str())),
        ("service.version", env!("CARGO_PKG_VERSION").into()),
        ("service.instance.id", resource.instance.as_str().into()),
    ];
    json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes_json(&attributes) },
            "scopeSpans": [{
                "scope": { "name": "tidemill", "version": env!("CARGO_PKG_VERSION") },
                "spans": spans.iter().map(span_json).collect::<Vec<_>>(),
            }],
        }],
    })
}

fn span_json(span: &SpanData) -> Value {
    let mut object = json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id(),
        "traceState": &*span.context.state,
        "parentSpanId": span.parent.map(|parent| format!("{parent:016x}")).unwrap_or_default(),
        "name": span.name,
        "kind": match span.kind {
            Kind::Internal => KIND_INTERNAL,
            Kind::Server => KIND_SERVER,
        },
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
        "attributes": attributes_json(&span.attributes),
        "events": span.events.iter().map(event_json).collect::<Vec<_>>(),
        "links": span.links.iter().map(link_json).collect::<Vec<_>>(),
        "status": {},
    });
    if let Some(error) = &span.error {
        object["status"] = json!({ "code": STATUS_ERROR, "message": error });
    }
    object
}

fn event_json(event: &SpanEvent) -> Value {
    json!({
        "timeUnixNano": event.at_ns.to_string(),
        "name": event.name,
        "attributes": attributes_json(&event.attributes),
    })
}

fn link_json(context: &SpanContext) -> Value {
    json!({ "traceId": context.trace_id(), "spanId": context.span_id(), "traceState": &*context.state })
}

fn attributes_json(attributes: &[(&'static str, Attribute)]) -> Vec<Value> {
    let value = |attribute: &Attribute| match attribute {
        Attribute::Text(text) => json!({ "stringValue": text }),
        Attribute::Integer(number) => json!({ "intValue": number.to_string() }),
    };
    attributes.iter().map(|(key, attribute)| json!({ "key": key, "value": value(attribute) })).collect()
}
