//! The shell, driven as its users do: through a pseudo-terminal whose screen is looked at, and through pipes.

mod jobs;
mod live;
mod piped;
mod prompt;
mod remote;
pub mod terminal;
