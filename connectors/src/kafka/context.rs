//! What every client of librdkafka is given: tokens to log in with, and a place for what it says beside its answers.

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{is_outage, reason};
use super::tokens::{self, TokenError};

/// Hears what a client says.
pub trait Listener: Send + Sync + 'static {
    /// The client tries again by itself.
    fn error(&self, error: &KafkaError, text: &str) {
        tell(error, text);
    }

    /// As JSON, every second where the client is told to.
    fn statistics(&self, _json: &[u8]) {}
}

/// The context of a client, and its listener.
#[derive(Debug, Default)]
pub struct Context<L>(pub L);

/// What a client says goes to our log, and nowhere else.
#[derive(Debug, Default)]
pub struct LogOnly;

impl Listener for LogOnly {}

pub type Quiet = Context<LogOnly>;

impl<L: Listener> ClientContext for Context<L> {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, setting: Option<&str>) -> Result<OAuthToken, TokenError> {
        tokens::token(setting)
    }

    /// They hold no settings.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::warn!(facility, "{message}");
            }
            _ => tracing::debug!(facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, text: &str) {
        self.0.error(&error, text);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.0.statistics(statistics);
    }
}

impl<L: Listener> ConsumerContext for Context<L> {}

/// Only what the client gives up is worth a warning. The end of a partition is no error.
pub fn tell(error: &KafkaError, text: &str) {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::PartitionEOF) => {}
        _ if is_outage(error) => tracing::warn!(reason = text, "brokers cannot be reached; the client goes on trying"),
        _ => tracing::warn!(reason = reason(error), text, "kafka"),
    }
}
