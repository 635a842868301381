//! The first word with a cluster: whether a broker answers, and lets us in. Said at once, and not by timeouts of what comes later.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidemill_engine::{EngineError, Result};

use super::client::{ClientSettings, failed, unusable};
use super::consumer::REQUEST_TIMEOUT;
use super::context::{Context, Listener};
use super::lifeline::Interrupt;

/// How long to wait for an answer before looking whether we were turned away.
const LOOK: Duration = Duration::from_millis(200);

/// After so long without an answer the user is told that we wait; and where it is known what is in the way, the attempt ends.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Hears why brokers turn a client away, or cannot be reached.
#[derive(Default)]
struct Greeting {
    turned_away: Mutex<Option<(RDKafkaErrorCode, String)>>,
    /// The last thing that went wrong on the way to a broker.
    obstacle: Mutex<Option<String>>,
}

impl Listener for Greeting {
    fn error(&self, error: &KafkaError, text: &str) {
        match error.rdkafka_error_code() {
            Some(code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)) => {
                self.turned_away.lock().get_or_insert((code, text.to_string()));
            }
            // That all brokers are down says less than what became of one of them.
            Some(RDKafkaErrorCode::AllBrokersDown) | None => {}
            Some(_) => *self.obstacle.lock() = Some(text.to_string()),
        }
    }
}

/// Waits until a broker answers, but not long: whoever fails for this is tried again for as long as it takes. Wrong passwords and the
/// like are refused for good.
pub fn reach(settings: &ClientSettings, interrupt: &Interrupt) -> Result<()> {
    let doing = format!("reach the brokers {}", settings.cluster());
    let made = settings.config().create_with_context(Context::<Greeting>::default());
    let client: BaseConsumer<Context<Greeting>> = made.map_err(|error| unusable(&doing, &error))?;
    settings.log_in(client.client().native_ptr()).map_err(|error| failed(&doing, &error))?;
    let begun = Instant::now();
    let mut told = false;
    while client.client().fetch_cluster_id(LOOK).is_none() {
        // Errors are told to whoever polls.
        let _ = client.poll(Duration::ZERO);
        if let Some((code, text)) = client.context().0.turned_away.lock().take() {
            return Err(refused(&doing, code, &text));
        }
        let obstacle = client.context().0.obstacle.lock().clone();
        if interrupt.is_set() {
            return Err(failed(&doing, &KafkaError::Canceled));
        }
        let silent = begun.elapsed() >= SILENCE_MAX;
        if let Some(text) = obstacle.as_ref().filter(|_| silent) {
            return Err(out_of_reach(&doing, text));
        }
        if begun.elapsed() >= REQUEST_TIMEOUT {
            return Err(failed(&doing, &KafkaError::Global(RDKafkaErrorCode::AllBrokersDown)));
        }
        if !told && silent {
            let brokers = settings.cluster();
            tracing::warn!(brokers, "no broker answers; waiting for {} s", REQUEST_TIMEOUT.as_secs());
            told = true;
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
        _ => out_of_reach(doing, text),
    }
}

fn out_of_reach(doing: &str, text: &str) -> EngineError {
    EngineError::Unreachable { connector: "kafka".into(), reason: format!("cannot {doing}: {text}") }
}
