//! The `tidemill` program: the only place that knows the command line.

use std::io::IsTerminal;
use std::process::ExitCode;

mod cli;
mod client;
mod connect;
mod connection;
mod container;
mod control;
mod exit;
mod explain;
mod jobs;
mod list;
mod memory;
mod options;
mod query;
mod repl;
mod run;
mod screen;
mod script;
mod server;
mod slt;
mod status;
mod telemetry;
mod top;

use cli::{Cli, Command};

/// Threads allocate batches and RocksDB's blocks that others free; the C library's allocator takes up to a fifth of a stateful
/// job's processor time for that. RocksDB and librdkafka allocate here too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::of_process();
    // A server has a log of its own.
    if !matches!(cli.command, Some(Command::Serve(_) | Command::Start)) {
        log_to_stderr();
    }
    let Some(command) = cli.command else { return repl::run(&cli.shell, &[]).into() };
    let exit = match command {
        Command::Repl(args) => repl::run(&args.shell, &args.files),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => explain::check(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Connectors(args) => list::connectors(&args),
        Command::Functions(args) => list::functions(&args),
        Command::Savepoint(args) => explain::savepoint(&args),
        Command::Serve(args) => server::serve(&args),
        Command::Config(args) => server::show_config(&args),
        Command::Start => container::start(log_to_stderr),
        Command::Health(args) => container::health(&args),
        Command::Token(command) => server::token(&command),
        Command::Client(command) => client::run(&command),
        Command::Test(args) => slt::run::run(&args),
    };
    exit.into()
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIDEMILL_LOG").unwrap_or_else(|_| "warn".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    log.with_ansi(std::io::stderr().is_terminal()).init();
}
