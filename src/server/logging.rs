//! The server's log on standard error, as text or as a JSON object a line. Known secrets are starred in it.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::jobs::now_ms;
use crate::jobs::secrets::Redactor;

/// What is logged unless `TIDEMILL_LOG` says otherwise.
const FILTER: &str = "warn,tidemill=info";

pub fn init(as_json: bool, redactor: Redactor) {
    let filter = EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| FILTER.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(RedactedStderr(redactor));
    match as_json {
        true => log.event_format(JsonLines).init(),
        false => log.with_ansi(io::stderr().is_terminal()).init(),
    }
    // A job that panics, or a request, is an entry like any other: no text beside the log, and no secret in it.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or_default().to_string();
        tracing::error!(thread, place, reason = panic.payload_as_str().unwrap_or_default(), "panicked");
    }));
}

#[derive(Clone)]
struct RedactedStderr(Redactor);

impl<'a> MakeWriter<'a> for RedactedStderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for RedactedStderr {
    /// The subscriber writes an event at a time.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.0.hide(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

struct JsonLines;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static> FormatEvent<S, N> for JsonLines {
    fn format_event(&self, _context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = json!({
            "time_ms": now_ms(),
            "level": metadata.level().as_str().to_ascii_lowercase(),
            "target": metadata.target(),
        });
        if let Some(object) = line.as_object_mut() {
            object.extend(fields.0);
        }
        writeln!(writer, "{line}")
    }
}

struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_string(), Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_string(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_string(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_string(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_string(), Value::from(value));
    }
}
