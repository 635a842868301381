//! The terminal as a shared resource: whole batches go out under one lock, so rows never mix within a line.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_engine::{EngineError, Result};

/// A stream that several writers print to.
#[derive(Clone)]
pub struct SharedOutput {
    name: &'static str,
    writer: Arc<Mutex<dyn Write + Send>>,
}

impl SharedOutput {
    /// `name` appears in errors.
    pub fn new(name: &'static str, writer: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self { name, writer }
    }

    /// Writes all of `text` at once and flushes it.
    ///
    /// # Errors
    /// [`EngineError::OutputClosed`] when whoever read the output is gone (`| head`), else [`EngineError::Io`].
    pub fn print(&self, text: &str) -> Result<()> {
        let mut writer = self.writer.lock();
        let written = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => EngineError::OutputClosed { output: self.name.to_string() },
            _ => EngineError::io("write to", self.name, error),
        })
    }
}

impl fmt::Debug for SharedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Where printed rows go.
#[derive(Debug, Clone)]
pub struct Console {
    pub stdout: SharedOutput,
    pub stderr: SharedOutput,
}

impl Console {
    /// The streams of this process.
    pub fn process() -> Self {
        Self {
            stdout: SharedOutput::new("standard output", Arc::new(Mutex::new(std::io::stdout()))),
            stderr: SharedOutput::new("standard error", Arc::new(Mutex::new(std::io::stderr()))),
        }
    }

    /// Both streams into one writer, for tests.
    pub fn into_writer(writer: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self {
            stdout: SharedOutput::new("standard output", writer.clone()),
            stderr: SharedOutput::new("standard error", writer),
        }
    }
}
