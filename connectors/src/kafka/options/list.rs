//! The options of the connectors `kafka` and `upsert-kafka` as lists. Names are Flink's.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::format::FORMATS;
use crate::options::{OptionDef, OptionType};
use crate::table::TableSpec;

use super::{KEY_PREFIX, VALUE_PREFIX};

/// Formats whose records can be messages.
const MESSAGE_FORMATS: &[&str] =
    &["json", "csv", "raw", "avro", "avro-confluent", "debezium-json", "changelog-json", "canal-json", "maxwell-json"];
/// Those that can be keys, and values by key.
const ROW_FORMATS: &[&str] = &["json", "csv", "raw", "avro", "avro-confluent"];

pub const TOPIC: OptionDef =
    OptionDef::new("topic", OptionType::Text, "the topic; to read, also several with ';' between them");
pub const TOPIC_PATTERN: OptionDef = OptionDef::new(
    "topic-pattern",
    OptionType::Text,
    "every topic whose whole name matches this regular expression is read",
)
.source();
pub const BOOTSTRAP_SERVERS: OptionDef = OptionDef::new(
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
    "any setting of the client library librdkafka, such as properties.security.protocol; those of the Java client are translated",
);
pub const FORMAT: OptionDef = OptionDef::new("format", OptionType::Choice(MESSAGE_FORMATS), "how values are written");
pub const VALUE_FORMAT: OptionDef = OptionDef::new(
    "value.format",
    OptionType::Choice(MESSAGE_FORMATS),
    "the same as 'format'; the format's options then begin with 'value.', as in 'value.json.ignore-parse-errors'",
);
pub const KEY_FORMAT: OptionDef = OptionDef::new(
    "key.format",
    OptionType::Choice(ROW_FORMATS),
    "how keys are written; without it keys are neither read nor written; the format's options begin with 'key.'",
);
const UPSERT_VALUE_FORMAT: OptionDef =
    OptionDef::new("value.format", OptionType::Choice(ROW_FORMATS), "how values are written").required();
const UPSERT_KEY_FORMAT: OptionDef = OptionDef::new(
    "key.format",
    OptionType::Choice(ROW_FORMATS),
    "how keys, the columns of the PRIMARY KEY, are written",
)
.required();
pub const KEY_FIELDS: OptionDef =
    OptionDef::new("key.fields", OptionType::Text, "the columns in the key, with ';' between them");
pub const KEY_FIELDS_PREFIX: OptionDef = OptionDef::new(
    "key.fields-prefix",
    OptionType::Text,
    "begins the names of the key's columns in the table, but not in the messages; asks for 'EXCEPT_KEY'",
)
.default("");
pub const FIELDS_INCLUDE: OptionDef = OptionDef::new(
    "value.fields-include",
    OptionType::Choice(&["ALL", "EXCEPT_KEY"]),
    "whether the value holds the key's columns as well",
)
.default("ALL");
pub const STARTUP_MODE: OptionDef = OptionDef::new(
    "scan.startup.mode",
    OptionType::Choice(&["group-offsets", "earliest-offset", "latest-offset", "timestamp", "specific-offsets"]),
    "where a new job begins; a restored one goes on from its checkpoint",
)
.default("group-offsets")
.source();
pub const STARTUP_OFFSETS: OptionDef = OptionDef::new(
    "scan.startup.specific-offsets",
    OptionType::Described("partition:0,offset:42;partition:1,offset:300"),
    "for 'specific-offsets'",
)
.source();
pub const STARTUP_TIMESTAMP: OptionDef = OptionDef::new(
    "scan.startup.timestamp-millis",
    OptionType::Integer { min: 0 },
    "for 'timestamp': milliseconds since 1970 in UTC",
)
.source();
pub const BOUNDED_MODE: OptionDef = OptionDef::new(
    "scan.bounded.mode",
    OptionType::Choice(&["unbounded", "latest-offset", "group-offsets", "timestamp", "specific-offsets"]),
    "where reading ends",
)
.default("unbounded")
.source();
pub const BOUNDED_OFFSETS: OptionDef = OptionDef::new(
    "scan.bounded.specific-offsets",
    OptionType::Described("partition:0,offset:42;partition:1,offset:300"),
    "for 'specific-offsets': the first that is not read",
)
.source();
pub const BOUNDED_TIMESTAMP: OptionDef = OptionDef::new(
    "scan.bounded.timestamp-millis",
    OptionType::Integer { min: 0 },
    "for 'timestamp': milliseconds since 1970 in UTC",
)
.source();
pub const DISCOVERY_INTERVAL: OptionDef = OptionDef::new(
    "scan.topic-partition-discovery.interval",
    OptionType::Duration,
    "how often to look for new partitions, which are read from their start; '0 s' never looks",
)
.default("5 min")
.source();
pub const PARTITIONER: OptionDef = OptionDef::new(
    "sink.partitioner",
    OptionType::Choice(&["default", "fixed", "round-robin"]),
    "'default': by key as Kafka does, without a key any; 'fixed': one partition per writing instance",
)
.default("default")
.sink();
pub const DELIVERY_GUARANTEE: OptionDef = OptionDef::new(
    "sink.delivery-guarantee",
    OptionType::Choice(&["exactly-once", "at-least-once", "none"]),
    "what a crash may do to rows",
)
.default("exactly-once")
.sink();
pub const ID_PREFIX: OptionDef =
    OptionDef::new("sink.transactional-id-prefix", OptionType::Text, "begins the names of the transactional producers")
        .default("tidemill")
        .sink();
pub const COMMIT_TOPIC: OptionDef = OptionDef::new(
    "sink.commit-topic",
    OptionType::Text,
    "the topic in which a job that writes exactly once keeps what it has committed, made if it does not exist; unless it is given, one of the \
     job's own, __tidemill_commits-<job id> (extension)",
)
.sink();
pub const FLUSH_ROWS: OptionDef = OptionDef::new(
    "sink.buffer-flush.max-rows",
    OptionType::Integer { min: 0 },
    "of rows with one key only the last is written, out of so many keys at most; '0' writes every row",
)
.default("0")
.sink();
pub const FLUSH_INTERVAL: OptionDef = OptionDef::new(
    "sink.buffer-flush.interval",
    OptionType::Duration,
    "rows wait for later ones with their key at most so long, and never beyond a checkpoint; '0 s' writes every row",
)
.default("0 s")
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
    KEY_FIELDS_PREFIX,
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

const UPSERT_OPTIONS: &[OptionDef] = &[
    TOPIC,
    TOPIC_PATTERN,
    BOOTSTRAP_SERVERS,
    GROUP,
    OTHER_PROPERTIES,
    UPSERT_KEY_FORMAT,
    UPSERT_VALUE_FORMAT,
    KEY_FIELDS_PREFIX,
    FIELDS_INCLUDE,
    BOUNDED_MODE,
    BOUNDED_OFFSETS,
    BOUNDED_TIMESTAMP,
    DISCOVERY_INTERVAL,
    DELIVERY_GUARANTEE,
    ID_PREFIX,
    COMMIT_TOPIC,
    FLUSH_ROWS,
    FLUSH_INTERVAL,
];

/// The options of `kafka`, or with `upserts` of `upsert-kafka`, and those of the table's formats, or of all formats.
pub fn list(spec: Option<&TableSpec>, upserts: bool) -> Vec<OptionDef> {
    let own = if upserts { UPSERT_OPTIONS } else { OPTIONS };
    let of_formats: Vec<OptionDef> = match spec {
        None if upserts => of_formats("", ROW_FORMATS),
        None => of_formats("", MESSAGE_FORMATS),
        Some(spec) => {
            let chosen = [(&FORMAT, ""), (&VALUE_FORMAT, VALUE_PREFIX), (&KEY_FORMAT, KEY_PREFIX)];
            let chosen = chosen.into_iter().filter_map(|(option, prefix)| Some((spec.text(option)?, prefix)));
            chosen.flat_map(|(name, prefix)| of_formats(prefix, &[name])).collect()
        }
    };
    own.iter().copied().chain(of_formats).collect()
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
