//! The options of the connectors `kafka` and `upsert-kafka`, and a table's options resolved. Names are Flink's.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use arrow::datatypes::Schema;
use regex::Regex;
use tidemill_engine::sink::Guarantee;

use super::client::{BOOTSTRAP, ClientSettings};
use crate::format::{FORMATS, Format, FormatProblem};
use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::table::TableSpec;

/// Begins the options that are handed to the client library.
const PROPERTIES: &str = "properties.";

/// A broker allows 15 minutes unless told otherwise; an outage shorter than this loses no work.
const TRANSACTION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);

const TRANSACTION_TIMEOUT: &str = "transaction.timeout.ms";

/// Formats whose records can be messages.
const MESSAGE_FORMATS: &[&str] =
    &["json", "csv", "raw", "avro", "avro-confluent", "debezium-json", "changelog-json", "canal-json", "maxwell-json"];
/// Those that can be keys, and values by key.
const ROW_FORMATS: &[&str] = &["json", "csv", "raw", "avro", "avro-confluent"];

/// Options of the formats stand behind the side that the format was given for.
const KEY_PREFIX: &str = "key.";
const VALUE_PREFIX: &str = "value.";

const TOPIC: OptionDef =
    OptionDef::new("topic", OptionType::Text, "the topic; to read, also several with ';' between them");
const TOPIC_PATTERN: OptionDef = OptionDef::new(
    "topic-pattern",
    OptionType::Text,
    "every topic whose whole name matches this regular expression is read",
)
.source();
const BOOTSTRAP_SERVERS: OptionDef = OptionDef::new(
    "properties.bootstrap.servers",
    OptionType::Text,
    "addresses of brokers, host:port, with ',' between them",
)
.required();
const GROUP: OptionDef = OptionDef::new(
    "properties.group.id",
    OptionType::Text,
    "the group whose offsets are kept up to date, for tools that show lag",
)
.source();
const OTHER_PROPERTIES: OptionDef = OptionDef::new(
    "properties.#",
    OptionType::Text,
    "any setting of the client library librdkafka, such as properties.security.protocol; Flink's sasl.jaas.config is taken too",
);
const FORMAT: OptionDef = OptionDef::new("format", OptionType::Choice(MESSAGE_FORMATS), "how values are written");
const VALUE_FORMAT: OptionDef =
    OptionDef::new("value.format", OptionType::Choice(MESSAGE_FORMATS), "the same as 'format', beside 'key.format'");
const KEY_FORMAT: OptionDef = OptionDef::new(
    "key.format",
    OptionType::Choice(ROW_FORMATS),
    "how keys are written; without it keys are neither read nor written",
);
const KEY_FIELDS: OptionDef =
    OptionDef::new("key.fields", OptionType::Text, "the columns in the key, with ';' between them");
const FIELDS_INCLUDE: OptionDef = OptionDef::new(
    "value.fields-include",
    OptionType::Choice(&["ALL", "EXCEPT_KEY"]),
    "whether the value holds the key's columns as well",
)
.default("ALL");
const STARTUP_MODE: OptionDef = OptionDef::new(
    "scan.startup.mode",
    OptionType::Choice(&["group-offsets", "earliest-offset", "latest-offset", "timestamp", "specific-offsets"]),
    "where a new job begins; a restored one goes on from its checkpoint",
)
.default("group-offsets")
.source();
const STARTUP_OFFSETS: OptionDef = OptionDef::new(
    "scan.startup.specific-offsets",
    OptionType::Described("partition:0,offset:42;partition:1,offset:300"),
    "for 'specific-offsets'",
)
.source();
const STARTUP_TIMESTAMP: OptionDef = OptionDef::new(
    "scan.startup.timestamp-millis",
    OptionType::Integer { min: 0 },
    "for 'timestamp': milliseconds since 1970 in UTC",
)
.source();
const BOUNDED_MODE: OptionDef = OptionDef::new(
    "scan.bounded.mode",
    OptionType::Choice(&["unbounded", "latest-offset", "group-offsets", "timestamp", "specific-offsets"]),
    "where reading ends",
)
.default("unbounded")
.source();
const BOUNDED_OFFSETS: OptionDef = OptionDef::new(
    "scan.bounded.specific-offsets",
    OptionType::Described("partition:0,offset:42;partition:1,offset:300"),
    "for 'specific-offsets': the first that is not read",
)
.source();
const BOUNDED_TIMESTAMP: OptionDef = OptionDef::new(
    "scan.bounded.timestamp-millis",
    OptionType::Integer { min: 0 },
    "for 'timestamp': milliseconds since 1970 in UTC",
)
.source();
const DISCOVERY_INTERVAL: OptionDef = OptionDef::new(
    "scan.topic-partition-discovery.interval",
    OptionType::Duration,
    "how often to look for new partitions, which are read from their start; '0 s' never looks",
)
.default("5 min")
.source();
const PARTITIONER: OptionDef = OptionDef::new(
    "sink.partitioner",
    OptionType::Choice(&["default", "fixed", "round-robin"]),
    "'default': by key as Kafka does, without a key any; 'fixed': one partition per writing instance",
)
.default("default")
.sink();
const DELIVERY_GUARANTEE: OptionDef = OptionDef::new(
    "sink.delivery-guarantee",
    OptionType::Choice(&["exactly-once", "at-least-once", "none"]),
    "what a crash may do to rows",
)
.default("exactly-once")
.sink();
const ID_PREFIX: OptionDef =
    OptionDef::new("sink.transactional-id-prefix", OptionType::Text, "begins the names of the transactional producers")
        .default("tidemill")
        .sink();
const COMMIT_TOPIC: OptionDef = OptionDef::new(
    "sink.commit-topic",
    OptionType::Text,
    "the topic in which jobs that write exactly once keep what they have committed; it is made if it does not exist (extension)",
)
.default("__tidemill_commits")
.sink();

const OPTIONS: &[OptionDef] = &[
    TOPIC,
    TOPIC_PATTERN,
    BOOTSTRAP_SERVERS,
    GROUP,
    OTHER_PROPERTIES,
    FORMAT,
    VALUE_FORMAT,
    KEY_FORMAT,
    KEY_FIELDS,
    FIELDS_INCLUDE,
    STARTUP_MODE,
    STARTUP_OFFSETS,
    STARTUP_TIMESTAMP,
    BOUNDED_MODE,
    BOUNDED_OFFSETS,
    BOUNDED_TIMESTAMP,
    DISCOVERY_INTERVAL,
    PARTITIONER,
    DELIVERY_GUARANTEE,
    ID_PREFIX,
    COMMIT_TOPIC,
];

/// The connector's options and those of the table's formats, or of all formats.
pub fn list(spec: Option<&TableSpec>) -> Vec<OptionDef> {
    let of_formats: Vec<OptionDef> = match spec {
        None => of_formats("", MESSAGE_FORMATS),
        Some(spec) => {
            let chosen = [(&FORMAT, ""), (&VALUE_FORMAT, VALUE_PREFIX), (&KEY_FORMAT, KEY_PREFIX)];
            let chosen = chosen.into_iter().filter_map(|(option, prefix)| Some((spec.text(option)?, prefix)));
            chosen.flat_map(|(name, prefix)| of_formats(prefix, &[name])).collect()
        }
    };
    OPTIONS.iter().copied().chain(of_formats).collect()
}

/// The options of formats as they are written behind a prefix.
fn of_formats(prefix: &str, names: &[&str]) -> Vec<OptionDef> {
    let formats = FORMATS.iter().filter(|format| names.contains(&format.name));
    let options = formats.flat_map(|format| format.options);
    options.map(|option| OptionDef { key: prefixed(prefix, option.key), ..OptionDef::from(option) }).collect()
}

/// The whole key; there are only so many, and each is made once.
fn prefixed(prefix: &str, key: &'static str) -> &'static str {
    static KEYS: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
        let keys = FORMATS.iter().flat_map(|format| format.options).map(|option| option.key);
        let keys = keys.flat_map(|key| [KEY_PREFIX, VALUE_PREFIX].map(|prefix| format!("{prefix}{key}")));
        keys.map(|key| (key.clone(), &*key.leak())).collect()
    });
    if prefix.is_empty() { key } else { KEYS[&format!("{prefix}{key}")] }
}

/// Which topics a table is.
#[derive(Debug, Clone)]
pub enum Topics {
    Named(Vec<String>),
    Matching(Regex),
}

/// Where reading begins or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Earliest,
    Latest,
    Group,
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// By partition; those that are not named as with `Group`.
    Offsets(BTreeMap<i32, i64>),
}

/// What reading and writing have in common.
#[derive(Debug, Clone)]
pub struct KafkaTable {
    pub client: ClientSettings,
    pub topics: Topics,
    pub value: Format,
    pub key: Option<Format>,
    pub key_fields: Vec<String>,
    /// The value lacks the key's columns.
    pub except_key: bool,
}

#[derive(Debug, Clone)]
pub struct SourceOptions {
    pub start: Place,
    /// `None`: never.
    pub end: Option<Place>,
    pub discovery_interval: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioning {
    ByKey,
    Fixed,
    RoundRobin,
}

#[derive(Debug, Clone)]
pub struct SinkOptions {
    pub topic: String,
    pub partitioning: Partitioning,
    pub guarantee: Guarantee,
    pub id_prefix: String,
    pub transaction_timeout: Duration,
    pub commit_topic: String,
}

type Checked<T> = Result<T, OptionProblem>;

impl KafkaTable {
    pub fn of(spec: &TableSpec) -> Checked<Self> {
        spec.required_text(&BOOTSTRAP_SERVERS)?;
        let properties = spec.options.iter().filter_map(|(key, value)| {
            // The transaction's timeout is a setting of the sink alone.
            let key = key.strip_prefix(PROPERTIES).filter(|key| *key != TRANSACTION_TIMEOUT)?;
            Some((key.to_string(), value.clone()))
        });
        let client = ClientSettings::new(properties.collect());
        debug_assert!(client.get(BOOTSTRAP).is_some());
        let key_fields = key_fields(spec)?;
        let except_key = spec.text(&FIELDS_INCLUDE) == Some("EXCEPT_KEY");
        if except_key && key_fields.is_empty() {
            return Err(OptionProblem::at(FIELDS_INCLUDE.key, "'EXCEPT_KEY' needs columns in the key")
                .hint("add 'key.format' and 'key.fields'"));
        }
        let (value, key) = (value_format(spec)?, key_format(spec)?);
        let is_key = |name: &str| key_fields.iter().any(|field| field == name);
        carries(&value, spec, |name| !(except_key && is_key(name)))?;
        key.as_ref().map_or(Ok(()), |key| carries(key, spec, is_key))?;
        Ok(Self { client, topics: topics(spec)?, value, key, key_fields, except_key })
    }
}

fn topics(spec: &TableSpec) -> Checked<Topics> {
    match (spec.text(&TOPIC), spec.text(&TOPIC_PATTERN)) {
        (Some(_), Some(_)) => Err(OptionProblem::at(TOPIC.key, "either 'topic' or 'topic-pattern' is given, not both")),
        (None, None) => Err(OptionProblem::missing(&TOPIC, spec.connector())),
        (Some(names), None) => {
            let names: Vec<String> =
                names.split(';').map(str::trim).filter(|name| !name.is_empty()).map(Into::into).collect();
            if names.is_empty() {
                Err(OptionProblem::at(TOPIC.key, "'topic' names no topic"))
            } else {
                Ok(Topics::Named(names))
            }
        }
        (None, Some(pattern)) => Regex::new(&format!("^(?:{pattern})$")).map(Topics::Matching).map_err(|error| {
            OptionProblem::at(TOPIC_PATTERN.key, format!("'topic-pattern' is not a regular expression: {error}"))
        }),
    }
}

fn value_format(spec: &TableSpec) -> Checked<Format> {
    if let (Some(_), Some(_)) = (spec.text(&FORMAT), spec.text(&VALUE_FORMAT)) {
        return Err(OptionProblem::at(VALUE_FORMAT.key, "'format' and 'value.format' are the same: only one is given"));
    }
    let (name, prefix) = match (spec.text(&FORMAT), spec.text(&VALUE_FORMAT)) {
        (Some(name), _) => (name, ""),
        (None, Some(name)) => (name, VALUE_PREFIX),
        (None, None) => return Err(OptionProblem::missing(&FORMAT, spec.connector())),
    };
    format(spec, name, prefix, "value")
}

fn key_format(spec: &TableSpec) -> Checked<Option<Format>> {
    spec.text(&KEY_FORMAT).map(|name| format(spec, name, KEY_PREFIX, "key")).transpose()
}

/// The format can carry those columns that are in its half of a message.
fn carries(format: &Format, spec: &TableSpec, is_in_it: impl Fn(&str) -> bool) -> Checked<()> {
    let fields = spec.columns.fields().iter().filter(|field| is_in_it(field.name())).cloned();
    let mut problems = format.check(&Schema::new(fields.collect::<Vec<_>>()));
    if problems.is_empty() { Ok(()) } else { Err(problems.swap_remove(0).into()) }
}

/// `prefix`: of the format's options; `half`: of messages, "key" or "value".
fn format(spec: &TableSpec, name: &str, prefix: &str, half: &str) -> Checked<Format> {
    let options =
        spec.options.iter().filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.into(), value.clone())));
    let format = Format::parse(name, &options.collect()).map_err(|problems| first(problems, prefix))?;
    Ok(match spec.text(&TOPIC) {
        Some(topic) => format.with_default_subject(format!("{topic}-{half}")),
        None => format,
    })
}

fn key_fields(spec: &TableSpec) -> Checked<Vec<String>> {
    let (fields, format) = (spec.text(&KEY_FIELDS), spec.text(&KEY_FORMAT));
    match (fields, format) {
        (None, None) => return Ok(Vec::new()),
        (None, Some(_)) => {
            return Err(OptionProblem::at(KEY_FORMAT.key, "'key.format' needs the columns in the key")
                .hint("add 'key.fields' = 'a;b'"));
        }
        (Some(_), None) => {
            return Err(OptionProblem::at(KEY_FIELDS.key, "'key.fields' needs a format for the key")
                .hint("add 'key.format' = 'json'"));
        }
        (Some(_), Some(_)) => {}
    }
    let names = fields.unwrap_or_default().split(';').map(str::trim).filter(|name| !name.is_empty());
    let known = |name: &str| spec.columns.field_with_name(name).is_ok();
    names
        .map(|name| match known(name) {
            true => Ok(name.to_string()),
            false => {
                let names = spec.columns.fields().iter().map(|field| field.name().as_str());
                let problem =
                    OptionProblem::at(KEY_FIELDS.key, format!("'key.fields': there is no physical column '{name}'"));
                Err(match tidemill_engine::suggestion::closest(name, names) {
                    Some(close) => problem.hint(format!("did you mean '{close}'?")),
                    None => problem,
                })
            }
        })
        .collect()
}

/// `prefix`: of the format's options.
fn first(problems: Vec<FormatProblem>, prefix: &str) -> OptionProblem {
    let problem = problems.into_iter().next().expect("refused for a reason");
    let Some(option) = &problem.option else { return problem.into() };
    let whole = format!("{prefix}{option}");
    let message = problem.message.replace(&format!("'{option}'"), &format!("'{whole}'"));
    OptionProblem { option: Some(whole), message, hint: Some(problem.hint) }
}

impl SourceOptions {
    pub fn of(spec: &TableSpec, table: &KafkaTable) -> Checked<Self> {
        let start = place(spec, &STARTUP_MODE, &STARTUP_TIMESTAMP, &STARTUP_OFFSETS)?;
        let end = match spec.text(&BOUNDED_MODE) {
            Some("unbounded") | None => None,
            Some(_) => Some(place(spec, &BOUNDED_MODE, &BOUNDED_TIMESTAMP, &BOUNDED_OFFSETS)?),
        };
        if table.client.get("group.id").is_none() && [Some(&start), end.as_ref()].contains(&Some(&Place::Group)) {
            return Err(OptionProblem::at(STARTUP_MODE.key, "'group-offsets' needs a group")
                .hint("add 'properties.group.id' = '...', or 'scan.startup.mode' = 'earliest-offset'"));
        }
        let interval = spec.duration(&DISCOVERY_INTERVAL)?.filter(|interval| !interval.is_zero());
        Ok(Self { start, end, discovery_interval: interval })
    }
}

fn place(spec: &TableSpec, mode: &OptionDef, timestamp: &OptionDef, offsets: &OptionDef) -> Checked<Place> {
    Ok(match spec.text(mode) {
        Some("earliest-offset") => Place::Earliest,
        Some("latest-offset") => Place::Latest,
        Some("timestamp") => {
            let time = spec.integer(timestamp)?.ok_or_else(|| OptionProblem::missing(timestamp, spec.connector()))?;
            Place::Timestamp(time)
        }
        Some("specific-offsets") => Place::Offsets(specific_offsets(offsets.key, spec.required_text(offsets)?)?),
        _ => Place::Group,
    })
}

/// `partition:0,offset:42;partition:1,offset:300`
fn specific_offsets(key: &str, text: &str) -> Checked<BTreeMap<i32, i64>> {
    let wrong = || {
        OptionProblem::at(key, format!("'{key}' = '{text}' is not valid"))
            .hint("write 'partition:0,offset:42;partition:1,offset:300'")
    };
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let parse = |part: &str| -> Option<(i32, i64)> {
        let (partition, offset) = part.split_once(',')?;
        let partition = partition.trim().strip_prefix("partition:")?.trim().parse().ok()?;
        let offset: i64 = offset.trim().strip_prefix("offset:")?.trim().parse().ok()?;
        (offset >= 0).then_some((partition, offset))
    };
    let offsets: BTreeMap<i32, i64> = parts.map(|part| parse(part).ok_or_else(wrong)).collect::<Checked<_>>()?;
    if offsets.is_empty() { Err(wrong()) } else { Ok(offsets) }
}

impl SinkOptions {
    pub fn of(spec: &TableSpec, table: &KafkaTable) -> Checked<Self> {
        let topic = match &table.topics {
            Topics::Named(names) if names.len() == 1 => names[0].clone(),
            _ => return Err(OptionProblem::at(TOPIC.key, "to be written, a table has exactly one 'topic'")),
        };
        let partitioning = match spec.text(&PARTITIONER) {
            Some("fixed") => Partitioning::Fixed,
            Some("round-robin") if table.key.is_some() => {
                return Err(OptionProblem::at(
                    PARTITIONER.key,
                    "'round-robin' would spread the rows of a key over partitions",
                )
                .hint("leave 'sink.partitioner' or 'key.format' out"));
            }
            Some("round-robin") => Partitioning::RoundRobin,
            _ => Partitioning::ByKey,
        };
        let timeout = spec.options.get(&format!("{PROPERTIES}{TRANSACTION_TIMEOUT}"));
        let transaction_timeout = match timeout.map(|text| text.trim().parse::<u64>()) {
            None => TRANSACTION_TIMEOUT_DEFAULT,
            Some(Ok(ms)) if ms > 0 => Duration::from_millis(ms),
            Some(_) => {
                let key = format!("{PROPERTIES}{TRANSACTION_TIMEOUT}");
                return Err(OptionProblem::at(key.clone(), format!("'{key}' takes a number of milliseconds")));
            }
        };
        Ok(Self {
            topic,
            partitioning,
            guarantee: guarantee(spec),
            id_prefix: spec.text(&ID_PREFIX).unwrap_or_default().to_string(),
            transaction_timeout,
            commit_topic: spec.text(&COMMIT_TOPIC).unwrap_or_default().to_string(),
        })
    }
}

/// What the table's sink promises.
pub fn guarantee(spec: &TableSpec) -> Guarantee {
    match spec.text(&DELIVERY_GUARANTEE) {
        Some("at-least-once") => Guarantee::AtLeastOnce,
        Some("none") => Guarantee::None,
        _ => Guarantee::ExactlyOnce,
    }
}
