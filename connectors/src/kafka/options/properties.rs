//! The options `properties.*`: settings of the client library librdkafka. Tables that were written for Flink bring names of the Java
//! client: those that have an equivalent are translated, the others are explained, and none is passed over in silence.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use tidemill_engine::suggestion::closest;

use super::{Checked, PROPERTIES, login};
use crate::kafka::client::is_secret;
use crate::options::OptionProblem;

/// A setting of the sink alone.
pub const TRANSACTION_TIMEOUT: &str = "transaction.timeout.ms";

/// The Java client's names of settings that librdkafka calls otherwise.
const RENAMED: &[(&str, &str)] = &[
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("max.request.size", "message.max.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
    ("ssl.truststore.certificates", "ssl.ca.pem"),
    ("ssl.keystore.certificate.chain", "ssl.certificate.pem"),
    ("ssl.keystore.key", "ssl.key.pem"),
];

/// Settings of the Java client, or of Flink, that have no meaning here, and why.
const FOREIGN: &[(&str, &str)] = &[
    ("key.deserializer", "'key.format' says how keys are read"),
    ("value.deserializer", "'format' says how values are read"),
    ("key.serializer", "'key.format' says how keys are written"),
    ("value.serializer", "'format' says how values are written"),
    ("max.poll.records", "batches are as large as what has come"),
    ("max.block.ms", "a full buffer makes the job wait, for as long as it takes"),
    ("default.api.timeout.ms", "'properties.socket.timeout.ms' bounds a request to a broker"),
    ("exclude.internal.topics", "'topic-pattern' says which topics are read"),
    ("partition.assignment.strategy", "the job deals partitions out by itself"),
    ("partition.discovery.interval.ms", "write 'scan.topic-partition-discovery.interval' = '10 s'"),
    ("commit.offsets.on.checkpoint", "the group is told at checkpoints whenever 'properties.group.id' is given"),
    ("enable.auto.commit", "the group is told at checkpoints whenever 'properties.group.id' is given"),
    ("auto.commit.interval.ms", "the group is told at checkpoints whenever 'properties.group.id' is given"),
    ("transactional.id", "write 'sink.transactional-id-prefix'"),
    ("partitioner.class", "write 'sink.partitioner'"),
    ("interceptor.classes", "Java classes cannot be loaded"),
    ("metric.reporters", "Java classes cannot be loaded"),
    ("sasl.login.class", "Java classes cannot be loaded"),
    ("sasl.login.callback.handler.class", "Java classes cannot be loaded"),
    ("sasl.client.callback.handler.class", "Java classes cannot be loaded"),
    ("ssl.engine.factory.class", "Java classes cannot be loaded"),
    ("security.providers", "Java classes cannot be loaded"),
    ("ssl.protocol", "the best protocol that both sides know is taken"),
    ("ssl.enabled.protocols", "the best protocol that both sides know is taken"),
    ("ssl.provider", "OpenSSL is used"),
    ("ssl.trustmanager.algorithm", "OpenSSL is used"),
    ("ssl.keymanager.algorithm", "OpenSSL is used"),
    ("schema.registry.url", "the registry is an option of the Avro format"),
];

/// What is most often written, for suggestions.
const WELL_KNOWN: &[&str] = &[
    "bootstrap.servers",
    "group.id",
    "client.id",
    "client.rack",
    "security.protocol",
    "sasl.mechanism",
    "sasl.username",
    "sasl.password",
    "sasl.jaas.config",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.truststore.location",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "auto.offset.reset",
    "isolation.level",
    "fetch.min.bytes",
    "fetch.max.bytes",
    "fetch.wait.max.ms",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "queued.max.messages.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.kbytes",
    "linger.ms",
    "batch.size",
    "compression.type",
    "acks",
    "retries",
    "request.timeout.ms",
    "delivery.timeout.ms",
    "session.timeout.ms",
    "socket.timeout.ms",
    "metadata.max.age.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "retry.backoff.ms",
    "connections.max.idle.ms",
    "enable.idempotence",
    "max.in.flight.requests.per.connection",
    "transaction.timeout.ms",
    "allow.auto.create.topics",
    "partitioner",
    "debug",
];

/// The settings of the table's clients, each of which librdkafka knows and takes.
pub fn translate(options: &BTreeMap<String, String>) -> Checked<BTreeMap<String, String>> {
    let given: BTreeMap<&str, &str> =
        options.iter().filter_map(|(key, value)| Some((key.strip_prefix(PROPERTIES)?, value.as_str()))).collect();
    let mut settings = BTreeMap::new();
    for (key, value) in &given {
        for (key, value) in translated(key, value, &given)? {
            settings.insert(key, value);
        }
    }
    // What a table says in librdkafka's own words wins.
    for (key, value) in &settings {
        check(key, value)?;
    }
    Ok(settings)
}

/// What becomes of one setting.
fn translated(key: &str, value: &str, given: &BTreeMap<&str, &str>) -> Checked<Vec<(String, String)>> {
    let one = |key: &str, value: &str| vec![(key.to_string(), value.to_string())];
    if let Some(settings) = login::translated(key, value, given)? {
        return Ok(settings);
    }
    if let Some((_, why)) = FOREIGN.iter().find(|(foreign, _)| *foreign == key) {
        let message = format!("'{PROPERTIES}{key}' is a setting of the Java client that means nothing here");
        return Err(at(key, message).hint(format!("leave it out: {why}")));
    }
    if let Some((_, name)) = RENAMED.iter().find(|(java, _)| *java == key) {
        return Ok(one(name, value));
    }
    Ok(match key {
        TRANSACTION_TIMEOUT => Vec::new(),
        // The Java client has a word for what librdkafka calls an error.
        "auto.offset.reset" if value == "none" => one(key, "error"),
        "ssl.endpoint.identification.algorithm" if value.is_empty() => one(key, "none"),
        "buffer.memory" => one("queue.buffering.max.kbytes", &kilobytes(key, value)?),
        "ssl.truststore.location" => one("ssl.ca.location", pem(key, value, "ssl.truststore.type", given)?),
        "ssl.truststore.type" | "ssl.truststore.password" | "ssl.keystore.type" => Vec::new(),
        "ssl.keystore.location" => key_store(key, value, given)?,
        _ => one(key, value),
    })
}

/// A file of certificates in PEM; the Java client's own stores are not read.
fn pem<'a>(key: &str, file: &'a str, type_key: &str, given: &BTreeMap<&str, &str>) -> Checked<&'a str> {
    let is_pem = match given.get(type_key) {
        Some(kind) => kind.eq_ignore_ascii_case("PEM"),
        None => [".pem", ".crt", ".cer"].iter().any(|end| file.ends_with(end)),
    };
    if is_pem {
        return Ok(file);
    }
    let message = format!("'{PROPERTIES}{key}' is a store of the Java client, but a file in PEM is needed");
    Err(at(key, message).hint(format!(
        "write the certificates out with `keytool -list -rfc -keystore {file} > ca.pem`, and 'properties.ssl.ca.location' = 'ca.pem'"
    )))
}

/// A client's certificate with its key: both in one file in PEM, or a PKCS#12 file.
fn key_store(key: &str, file: &str, given: &BTreeMap<&str, &str>) -> Checked<Vec<(String, String)>> {
    let kind = given.get("ssl.keystore.type").copied().unwrap_or_default();
    if kind.eq_ignore_ascii_case("PEM") || (kind.is_empty() && file.ends_with(".pem")) {
        let location = |key: &str| (key.to_string(), file.to_string());
        return Ok(vec![location("ssl.certificate.location"), location("ssl.key.location")]);
    }
    if kind.eq_ignore_ascii_case("JKS") || (kind.is_empty() && file.ends_with(".jks")) {
        let message = format!("'{PROPERTIES}{key}' is a store of the Java client, but PKCS#12 or PEM is needed");
        return Err(at(key, message).hint(format!(
            "convert it with `keytool -importkeystore -srckeystore {file} -destkeystore client.p12 -deststoretype PKCS12`"
        )));
    }
    Ok(vec![(key.to_string(), file.to_string())])
}

fn kilobytes(key: &str, bytes: &str) -> Checked<String> {
    let bytes: u64 = bytes
        .trim()
        .parse()
        .map_err(|_| at(key, format!("'{PROPERTIES}{key}' takes a number of bytes, not '{bytes}'")))?;
    Ok((bytes / 1024).max(1).to_string())
}

/// Whether librdkafka knows the setting and takes the value.
fn check(key: &str, value: &str) -> Checked<()> {
    let Err(error) = ClientConfig::new().set(key, value).create_native_config() else { return Ok(()) };
    match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
            let names = WELL_KNOWN.iter().chain(RENAMED.iter().map(|(java, _)| java)).copied();
            let problem = at(key, format!("the client library knows no setting '{key}'"));
            Err(match closest(key, names) {
                Some(close) => problem.hint(format!("did you mean '{PROPERTIES}{close}'?")),
                None => problem.hint("its settings are listed in librdkafka's CONFIGURATION.md"),
            })
        }
        KafkaError::ClientConfig(_, description, ..) if !is_secret(key) => {
            Err(at(key, format!("'{PROPERTIES}{key}' = '{value}' is refused: {description}")))
        }
        _ => Err(at(key, format!("the value of '{PROPERTIES}{key}' is refused"))),
    }
}

pub(super) fn at(key: &str, message: String) -> OptionProblem {
    OptionProblem::at(format!("{PROPERTIES}{key}"), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translate_all(given: &[(&str, &str)]) -> Checked<Vec<(String, String)>> {
        let options = given.iter().map(|(key, value)| (format!("{PROPERTIES}{key}"), value.to_string())).collect();
        translate(&options).map(|settings| settings.into_iter().collect())
    }

    #[test]
    fn names_of_the_java_client_become_those_of_librdkafka() {
        let plain =
            r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="ann" password = 'p"\'w';"#;
        for (given, expected) in [
            (vec![("fetch.max.wait.ms", "5")], vec![("fetch.wait.max.ms", "5")]),
            (vec![("buffer.memory", "33554432")], vec![("queue.buffering.max.kbytes", "32768")]),
            (vec![("sasl.jaas.config", plain)], vec![("sasl.password", "p\"'w"), ("sasl.username", "ann")]),
            (vec![("security.protocol", "SASL_SSL")], vec![("security.protocol", "SASL_SSL")]),
            (vec![("auto.offset.reset", "none")], vec![("auto.offset.reset", "error")]),
            (vec![("ssl.truststore.location", "/x"), ("ssl.truststore.type", "PEM")], vec![("ssl.ca.location", "/x")]),
            (
                vec![("ssl.keystore.location", "me.pem")],
                vec![("ssl.certificate.location", "me.pem"), ("ssl.key.location", "me.pem")],
            ),
            (vec![("transaction.timeout.ms", "1")], vec![]),
        ] {
            let expected: Vec<_> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            assert_eq!(translate_all(&given).expect("taken"), expected);
        }
    }

    #[test]
    fn what_has_no_equivalent_is_explained() {
        for (key, value, expected) in [
            ("key.deserializer", "x", "'key.format' says how keys are read"),
            ("max.poll.records", "5", "batches are as large"),
            ("group.idd", "x", "did you mean 'properties.group.id'?"),
            ("colour", "red", "CONFIGURATION.md"),
            ("ssl.truststore.location", "trust.jks", "keytool -list -rfc -keystore trust.jks"),
            ("security.protocol", "SSSL", "'properties.security.protocol' = 'SSSL' is refused"),
            ("sasl.mechanism", "GSSAPI", "Kerberos"),
            ("sasl.mechanism", "SCRAM-SHA256", "did you mean 'SCRAM-SHA-256'?"),
            ("sasl.jaas.config", "a.b.ScramLoginModule required username=\"s3cret\";", "no password"),
            ("sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule required;", "Kerberos"),
        ] {
            let problem = translate_all(&[(key, value)]).expect_err(key);
            assert_eq!(problem.option.as_deref(), Some(format!("{PROPERTIES}{key}").as_str()));
            let text = problem.to_string();
            assert!(text.contains(expected), "{key}: {text}");
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
