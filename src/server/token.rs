//! `tidemill token new`: makes a token for a server.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::auth::{Role, Tokens, new_token};
use crate::exit::Exit;
use crate::screen::answer;

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token: it is printed once, and only its hash is kept
    New {
        /// What its owner may do
        #[arg(long, value_enum)]
        role: Role,
        /// Whose it is; shows in the audit log
        #[arg(long)]
        name: String,
        /// Add its line to this file (the server's --tokens-file) instead of printing it
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub fn token(command: &TokenCommand) -> Exit {
    let TokenCommand::New { role, name, file } = command;
    let made = new_token(name, *role).and_then(|(token, line)| {
        if let Some(file) = file {
            append(file, &line)?;
        }
        Ok((token, line))
    });
    match made {
        Ok((token, line)) => {
            answer(&token);
            if file.is_none() {
                eprintln!("a line for the server's --tokens-file:\n{line}");
            }
            Exit::Success
        }
        Err(error) => {
            eprintln!("error: {error}");
            Exit::WrongInput
        }
    }
}

/// Readable by its owner only. A name that is there already is refused.
fn append(file: &Path, line: &str) -> Result<(), String> {
    let before = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
    };
    let newline = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    Tokens::parse(&format!("{before}{newline}{line}")).map_err(|error| format!("{}: {error}", file.display()))?;
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| opened.write_all(format!("{newline}{line}\n").as_bytes()));
    written.map_err(|error| format!("cannot write {}: {error}", file.display()))
}
