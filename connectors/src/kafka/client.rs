//! How a table reaches its cluster: `properties.*` become librdkafka's settings, and secrets stay out of every message.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafka;
use tidemill_engine::EngineError;

use super::tokens;

/// The setting that every table needs, without its prefix.
pub const BOOTSTRAP: &str = "bootstrap.servers";

/// Longest pause, in milliseconds, before a client tries again to reach a broker that has gone; librdkafka's own ten seconds would be most of
/// an outage.
const RECONNECT_MS_MAX: &str = "1000";

/// How often a producer says whether it has a connection, in milliseconds.
const STATISTICS_MS: &str = "1000";

/// Parts of a key whose value is nobody's business.
const SECRET_PARTS: [&str; 7] = ["password", "secret", "token", "jaas", "key.pem", "private", tokens::CONFIG];

/// The settings of one cluster's clients, as a table gives them.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSettings {
    properties: BTreeMap<String, String>,
}

impl ClientSettings {
    /// librdkafka's settings; [`BOOTSTRAP`] is among them.
    pub fn new(properties: BTreeMap<String, String>) -> Self {
        debug_assert!(properties.contains_key(BOOTSTRAP), "a table without brokers is refused");
        Self { properties }
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str)
    }

    /// What tells one cluster from another: its addresses in order.
    pub fn cluster(&self) -> String {
        let servers = self.get(BOOTSTRAP).unwrap_or_default();
        let mut servers: Vec<&str> = servers.split(',').map(str::trim).filter(|server| !server.is_empty()).collect();
        servers.sort_unstable();
        servers.join(",")
    }

    /// What a client begins with; the caller adds what its role asks for.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning).set("reconnect.backoff.max.ms", RECONNECT_MS_MAX);
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }

    /// Gives a client that was just made of these settings what it needs to log in. `client` is alive.
    pub fn log_in(&self, client: *mut RDKafka) -> Result<(), KafkaError> {
        let given = tokens::hand_over(client, self.get(tokens::CONFIG));
        given.map_err(|error| KafkaError::ClientCreation(format!("there is no token to log in with: {error}")))
    }

    /// What a producer begins with: keys go to the partitions that other clients of Kafka choose for them.
    pub fn producer_config(&self) -> ClientConfig {
        let mut config = self.config();
        if self.get("statistics.interval.ms").is_none() {
            config.set("statistics.interval.ms", STATISTICS_MS);
        }
        if self.get("partitioner").is_none() {
            config.set("partitioner", "murmur2_random");
        }
        config
    }
}

/// Values of secrets are not shown.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.properties.iter().map(|(key, value)| (key, if is_secret(key) { "***" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

/// True where a setting's value is not to be shown.
pub fn is_secret(key: &str) -> bool {
    SECRET_PARTS.iter().any(|part| key.contains(part))
}

/// `doing`: what was tried, as in "read the partitions of topic 'a'".
pub fn failed(doing: impl fmt::Display, error: &KafkaError) -> EngineError {
    let (connector, reason) = ("kafka".into(), format!("cannot {doing}: {}", reason(error)));
    match is_outage(error) {
        true => EngineError::Unreachable { connector, reason },
        false => EngineError::Connector { connector, reason },
    }
}

/// As [`failed`], for a client that cannot be made of its settings: trying again will not help.
pub fn unusable(doing: impl fmt::Display, error: &KafkaError) -> EngineError {
    EngineError::Unsupported(format!("kafka: cannot {doing}: {}", reason(error)))
}

/// librdkafka's own words.
pub fn reason(error: &KafkaError) -> String {
    match error {
        KafkaError::Transaction(inner) => inner.string(),
        KafkaError::ClientCreation(description) => description.clone(),
        KafkaError::ClientConfig(_, description, key, _) => format!("setting '{key}': {description}"),
        other => match other.rdkafka_error_code() {
            Some(code) => code.to_string(),
            None if matches!(other, KafkaError::Canceled) => "the job was stopped meanwhile".into(),
            None => other.to_string(),
        },
    }
}

/// The broker, or the way to it, is not there now, or nobody wants to wait for it any more; trying again may help.
pub fn is_outage(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerTransportFailure, MessageTimedOut, OperationTimedOut, RequestTimedOut, Resolve,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(AllBrokersDown | BrokerTransportFailure | MessageTimedOut | OperationTimedOut | RequestTimedOut | Resolve)
    ) || matches!(error, KafkaError::Canceled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> ClientSettings {
        ClientSettings::new(pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect())
    }

    #[test]
    fn clusters_are_told_apart_by_their_addresses_in_any_order() {
        let one = settings(&[(BOOTSTRAP, "b:1, a:1")]);
        assert_eq!(one.cluster(), "a:1,b:1");
        assert_eq!(one.cluster(), settings(&[(BOOTSTRAP, "a:1,b:1,")]).cluster());
    }

    #[test]
    fn a_password_is_never_shown() {
        let secrets = [("sasl.password", "p"), ("ssl.key.password", "q"), ("ssl.key.pem", "r")];
        let settings = settings(&[&[(BOOTSTRAP, "a:1"), ("sasl.username", "ann")][..], &secrets].concat());
        let shown = format!("{settings:?}");
        assert_eq!(
            shown,
            r#"{"bootstrap.servers": "a:1", "sasl.password": "***", "sasl.username": "ann", "ssl.key.password": "***", "ssl.key.pem": "***"}"#
        );
    }
}
