//! From a session's settings and the command line to the options of a job.

use std::path::PathBuf;

use tidemill_engine::runtime::{JobOptions, RestartStrategy, Restore};
use tidemill_sql::settings::{self, Settings};

use crate::cli::RunArgs;

/// A damaged newest checkpoint must leave one to fall back to.
const RETAINED_CHECKPOINTS_MIN: usize = 2;
/// Restarts without a limit, as Flink's exponential strategy has it unless told otherwise.
const ATTEMPTS_UNLIMITED: u32 = u32::MAX;

/// The options of a job that keeps its state in `state_dir`.
pub fn job_options(name: &str, settings: &Settings, state_dir: PathBuf) -> JobOptions {
    let defaults = JobOptions::new(name, state_dir);
    JobOptions {
        parallelism: settings.parallelism().unwrap_or_else(processors),
        max_parallelism: settings.max_parallelism().map_or(defaults.max_parallelism, |max| max as u16),
        batch_rows: settings.batch_rows(),
        checkpoint_interval: settings.checkpoint_interval(),
        retained_checkpoints: settings.retained_checkpoints().max(RETAINED_CHECKPOINTS_MIN),
        memory_budget_bytes: settings.memory_budget_bytes(),
        restart: restart_strategy(settings),
        ..defaults
    }
}

/// Where the job's state comes from, as the command line says.
pub fn restore(args: &RunArgs) -> Restore {
    match &args.from {
        Some(savepoint) => Restore::From(savepoint.clone()),
        None if args.fresh => Restore::Fresh,
        None => Restore::Latest,
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn restart_strategy(settings: &Settings) -> RestartStrategy {
    match settings.restart_strategy() {
        settings::RestartStrategy::None => RestartStrategy::never(),
        settings::RestartStrategy::FixedDelay { attempts, delay } => RestartStrategy {
            attempts_max: attempts,
            initial_backoff: delay,
            max_backoff: delay,
            multiplier: 1.0,
            ..RestartStrategy::default()
        },
        settings::RestartStrategy::ExponentialDelay { initial, max, multiplier, reset_after, attempts } => {
            RestartStrategy {
                attempts_max: attempts.unwrap_or(ATTEMPTS_UNLIMITED),
                initial_backoff: initial,
                max_backoff: max,
                multiplier,
                reset_after,
            }
        }
    }
}
