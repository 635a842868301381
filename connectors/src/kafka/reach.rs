//! The first word with a cluster: whether a broker answers, and lets us in. Said at once, and not by timeouts of what comes later.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidemill_engine::{EngineError, Result};

use super::client::{ClientSettings, failed, log, unusable};
use super::consumer::REQUEST_TIMEOUT;
use super::tokens::{self, TokenError};

/// How long to wait for an answer before looking whether we were turned away.
const LOOK: Duration = Duration::from_millis(200);

/// Hears why brokers turn a client away.
#[derive(Default)]
struct Greeting {
    turned_away: Mutex<Option<(RDKafkaErrorCode, String)>>,
}

impl ClientContext for Greeting {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, setting: Option<&str>) -> Result<OAuthToken, TokenError> {
        tokens::token(setting)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, text: &str) {
        if let Some(code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)) = error.rdkafka_error_code() {
            self.turned_away.lock().get_or_insert((code, text.to_string()));
        }
    }
}

impl ConsumerContext for Greeting {}

/// Waits until a broker answers. Wrong passwords and the like are refused for good.
pub fn reach(settings: &ClientSettings) -> Result<()> {
    let doing = format!("reach the brokers {}", settings.cluster());
    let made = settings.config().create_with_context(Greeting::default());
    let client: BaseConsumer<Greeting> = made.map_err(|error| unusable(&doing, &error))?;
    settings.log_in(client.client().native_ptr()).map_err(|error| failed(&doing, &error))?;
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while client.client().fetch_cluster_id(LOOK).is_none() {
        // Errors are told to whoever polls.
        let _ = client.poll(Duration::ZERO);
        if let Some((code, text)) = client.context().turned_away.lock().take() {
            return Err(refused(&doing, code, &text));
        }
        if Instant::now() >= deadline {
            return Err(failed(&doing, &KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)));
        }
    }
    Ok(())
}

fn refused(doing: &str, code: RDKafkaErrorCode, text: &str) -> EngineError {
    match code {
        RDKafkaErrorCode::Authentication => EngineError::Unsupported(format!(
            "kafka: cannot {doing}: {text}\n  hint: check 'properties.sasl.mechanism', the user and the password"
        )),
        // A broker that is just going down breaks off handshakes too.
        _ => EngineError::Connector { connector: "kafka".into(), reason: format!("cannot {doing}: {text}") },
    }
}
