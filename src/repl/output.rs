//! Where answers go: standard output, or a file that `\o` names.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;

use super::shell::Failure;

/// The place that rows are written to.
pub struct Output {
    file: Option<File>,
    to_terminal: bool,
}

impl Output {
    pub fn new() -> Self {
        Self { file: None, to_terminal: io::stdout().is_terminal() }
    }

    /// Answers go into a new file from now on; `None`: to standard output again.
    pub fn redirect(&mut self, path: Option<&Path>) -> io::Result<()> {
        self.file = path.map(File::create).transpose()?;
        Ok(())
    }

    /// True where somebody looks at the rows as they come.
    pub fn is_terminal(&self) -> bool {
        self.to_terminal && self.file.is_none()
    }

    /// Writes all of it, at once.
    pub fn write(&mut self, text: &str) -> Result<(), Failure> {
        let write = |out: &mut dyn Write| out.write_all(text.as_bytes()).and_then(|()| out.flush());
        let written = match &mut self.file {
            Some(file) => write(file),
            None => write(&mut io::stdout()),
        };
        written.map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Job(format!("error: cannot write the rows: {error}")),
        })
    }
}

/// A message beside the rows. There is nobody to tell if it cannot be written.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
}
