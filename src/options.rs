//! From a session's settings and the command line to the options of a job.

use std::path::PathBuf;
use std::time::Duration;

use tidemill_engine::runtime::options::FRUITLESS_RESTARTS_DEFAULT;
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
        checkpoint_min_pause: settings.checkpoint_min_pause(),
        checkpoint_timeout: settings.checkpoint_timeout(),
        tolerated_timeouts: settings.tolerated_checkpoint_failures(),
        retained_checkpoints: settings.retained_checkpoints().max(RETAINED_CHECKPOINTS_MIN),
        memory_budget_bytes: settings.memory_budget_bytes().unwrap_or(defaults.memory_budget_bytes),
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
    let flink = flink_strategy(settings);
    let asked = if flink.attempts_max == ATTEMPTS_UNLIMITED { 0 } else { flink.attempts_max };
    let default = FRUITLESS_RESTARTS_DEFAULT.max(asked);
    RestartStrategy { fruitless_max: settings.restarts_without_progress().unwrap_or(default), ..flink }
}

fn flink_strategy(settings: &Settings) -> RestartStrategy {
    match settings.restart_strategy() {
        settings::RestartStrategy::None => RestartStrategy::never(),
        settings::RestartStrategy::FixedDelay { attempts, delay } => RestartStrategy {
            attempts_max: attempts,
            initial_backoff: delay,
            max_backoff: delay,
            multiplier: 1.0,
            reset_after: Duration::MAX,
            ..RestartStrategy::default()
        },
        settings::RestartStrategy::ExponentialDelay { initial, max, multiplier, reset_after, attempts } => {
            RestartStrategy {
                attempts_max: attempts.unwrap_or(ATTEMPTS_UNLIMITED),
                initial_backoff: initial,
                max_backoff: max,
                multiplier,
                reset_after,
                ..RestartStrategy::default()
            }
        }
    }
}
