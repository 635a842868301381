//! The connectors as jobs of a server see them: options resolved, paths and hosts held to what the server allows.
//!
//! Closed by default: a connector that is not in the list here cannot be used by a job of a server.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::sink::Sink;
use tidemill_engine::source::{Boundedness, Position, Source, SourceHealth, Split, SplitReader};
use tidemill_engine::{EngineError, Result};
use tidemill_sql::catalog::{Connectors, OptionProblem, TableDefinition, Usage};

use super::reach::Reach;
use super::secrets::{Secrets, has_reference};
use crate::connect::RegistryConnectors;

/// What of a connector touches the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    Nothing,
    /// Its `path`, relative to the server's folder of files.
    Files,
    /// Its `url`.
    Url,
    /// Addresses, and files that its client library reads.
    Kafka,
}

const CONTACTS: &[(&str, Contact)] = &[
    ("blackhole", Contact::Nothing),
    ("datagen", Contact::Nothing),
    ("filesystem", Contact::Files),
    ("http", Contact::Url),
    ("jdbc", Contact::Url),
    ("kafka", Contact::Kafka),
    ("nexmark", Contact::Nothing),
    ("print", Contact::Nothing),
    ("upsert-kafka", Contact::Kafka),
];

/// How the credentials of the server's own environment would be asked for: a mechanism, and a login module.
const KAFKA_AS_THE_SERVER: (&str, &str) = ("AWS_MSK_IAM", "amazon.msk");
/// Settings of Kafka's client library that run programs or load code.
const KAFKA_REFUSED: &[&str] = &["plugin.library.paths", "ssl.engine.location", "ssl.providers", "kinit.cmd"];
/// Parts of the names of those that name files.
const KAFKA_FILES: &[&str] = &["location", "keytab", "file"];

pub struct ConfinedConnectors {
    inner: RegistryConnectors,
    reach: Arc<Reach>,
    secrets: Secrets,
}

impl ConfinedConnectors {
    pub fn new(inner: RegistryConnectors, reach: Arc<Reach>, secrets: Secrets) -> Self {
        Self { inner, reach, secrets }
    }

    /// The table with its secrets and absolute paths, if a job may have it.
    fn confined(&self, table: &TableDefinition) -> Result<TableDefinition, OptionProblem> {
        let name = table.options.get("connector").map(String::as_str).unwrap_or_default();
        let Some((_, contact)) = CONTACTS.iter().find(|(known, _)| *known == name) else {
            // The registry says better what is wrong with a connector that does not exist.
            return match self.inner.exists(name) {
                false => Ok(table.clone()),
                true => Err(problem("connector", format!("jobs of a server cannot use '{name}' tables"), None)),
            };
        };
        let mut confined = table.clone();
        for (key, value) in &mut confined.options {
            *value = self.resolved(*contact, key, value)?;
            if let Err(message) = self.check(*contact, key, value) {
                return Err(problem(key, self.secrets.redactor().hide(&message), hint(*contact)));
            }
            if *contact == Contact::Files && key == "path" {
                let path = self.reach.path(value).map_err(|message| problem(key, message, hint(*contact)))?;
                *value = path.to_str().map(str::to_string).unwrap_or_else(|| value.clone());
            }
        }
        Ok(confined)
    }

    /// Secrets are for signing in: a table that writes its options somewhere would tell them.
    fn resolved(&self, contact: Contact, key: &str, value: &str) -> Result<String, OptionProblem> {
        if !has_reference(value) {
            return Ok(value.to_string());
        }
        if !matches!(contact, Contact::Url | Contact::Kafka) {
            let message = format!("option '{key}' cannot hold a secret: this connector signs in nowhere");
            return Err(problem(key, message, None));
        }
        self.secrets.resolve(value).map_err(|message| problem(key, message, None))
    }

    fn check(&self, contact: Contact, key: &str, value: &str) -> Result<(), String> {
        match contact {
            Contact::Url if key == "url" => self.reach.url(value),
            Contact::Kafka => self.check_kafka(&key.to_ascii_lowercase(), value),
            _ => Ok(()),
        }
    }

    fn check_kafka(&self, key: &str, value: &str) -> Result<(), String> {
        if KAFKA_REFUSED.iter().any(|part| key.contains(part)) {
            return Err(format!("jobs of a server cannot set '{key}'"));
        }
        if value.contains(KAFKA_AS_THE_SERVER.0) || value.contains(KAFKA_AS_THE_SERVER.1) {
            return Err("jobs of a server cannot sign in as whoever runs the server".to_string());
        }
        if key.ends_with("bootstrap.servers") {
            return value.split(',').filter(|one| !one.trim().is_empty()).try_for_each(|one| self.reach.address(one));
        }
        if key.ends_with("url") {
            return value.split(',').try_for_each(|url| self.reach.url(url));
        }
        if key.contains("jaas.config") {
            return urls_in(value).try_for_each(|url| self.reach.url(url));
        }
        if KAFKA_FILES.iter().any(|part| key.contains(part)) && !value.is_empty() {
            return self.reach.path(value).map(|_| ());
        }
        Ok(())
    }

    fn hidden(&self, mut found: OptionProblem) -> OptionProblem {
        let hide = |text: &str| self.secrets.redactor().hide(text);
        found.message = hide(&found.message);
        found.hint = found.hint.map(|hint| hide(&hint));
        found
    }
}

fn urls_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(['"', '\'', ' ', ';', '=']).filter(|word| word.contains("://"))
}

fn problem(option: &str, message: impl Into<String>, hint: Option<&str>) -> OptionProblem {
    OptionProblem { option: Some(option.to_string()), message: message.into(), hint: hint.map(str::to_string) }
}

fn hint(contact: Contact) -> Option<&'static str> {
    match contact {
        Contact::Files => Some(
            "relative paths are below the server's folder of files; an administrator may add others with --allow-path",
        ),
        Contact::Url | Contact::Kafka => {
            Some("an administrator may add it with --allow-host (or --allow-path for files)")
        }
        Contact::Nothing => None,
    }
}

impl Connectors for ConfinedConnectors {
    fn check(&self, table: &TableDefinition, usage: Usage) -> Result<(), Vec<OptionProblem>> {
        let confined = self.confined(table).map_err(|found| vec![found])?;
        let checked = self.inner.check(&confined, usage);
        checked.map_err(|found| found.into_iter().map(|found| self.hidden(found)).collect())
    }

    fn source(
        &self,
        table: &TableDefinition,
        columns: &[String],
        time_zone: &str,
    ) -> Result<Arc<dyn Source>, OptionProblem> {
        let source = self.inner.source(&self.confined(table)?, columns, time_zone);
        let source = source.map_err(|found| self.hidden(found))?;
        match table.options.get("connector").map(String::as_str) {
            Some("filesystem") => Ok(Arc::new(ConfinedFiles { inner: source, reach: Arc::clone(&self.reach) })),
            _ => Ok(source),
        }
    }

    fn reads_fields(&self, table: &TableDefinition) -> bool {
        self.inner.reads_fields(table)
    }

    fn looks_up(&self, table: &TableDefinition) -> bool {
        self.inner.looks_up(table)
    }

    fn lookup(
        &self,
        table: &TableDefinition,
        columns: &[String],
        keys: &[(String, DataType)],
        time_zone: &str,
    ) -> Result<KeyedLookup, OptionProblem> {
        self.inner.lookup(&self.confined(table)?, columns, keys, time_zone).map_err(|found| self.hidden(found))
    }

    fn sink(
        &self,
        table: &TableDefinition,
        schema: SchemaRef,
        time_zone: &str,
    ) -> Result<Arc<dyn Sink>, OptionProblem> {
        self.inner.sink(&self.confined(table)?, schema, time_zone).map_err(|found| self.hidden(found))
    }

    fn sink_accepts(&self, table: &TableDefinition) -> ChangelogMode {
        self.inner.sink_accepts(table)
    }

    fn takes_updates_with(&self, table: &TableDefinition) -> Option<String> {
        self.inner.takes_updates_with(table)
    }

    fn source_changelog(&self, table: &TableDefinition) -> ChangelogMode {
        self.inner.source_changelog(table)
    }

    fn print_sink(&self, schema: SchemaRef, changelog: ChangelogMode) -> Arc<dyn Sink> {
        self.inner.print_sink(schema, changelog)
    }

    fn metadata(&self, table: &TableDefinition) -> Vec<(String, DataType)> {
        self.inner.metadata(table)
    }
}

/// Files of a table, none of which may be a link to the outside: such a link may have been put there at any time.
#[derive(Debug)]
struct ConfinedFiles {
    inner: Arc<dyn Source>,
    reach: Arc<Reach>,
}

impl ConfinedFiles {
    fn check(&self, split: &Split) -> Result<()> {
        let path = PathBuf::from(self.inner.whole(split));
        // A file that is gone is the source's own matter.
        if path.is_symlink() || path.exists() {
            if self.reach.leads_inside(&path) {
                return Ok(());
            }
            let reason = format!("{} leads out of the folders that jobs of this server may touch", path.display());
            return Err(EngineError::Unsupported(reason));
        }
        Ok(())
    }

    fn checked(&self, splits: Vec<Split>) -> Result<Vec<Split>> {
        splits.iter().try_for_each(|split| self.check(split))?;
        Ok(splits)
    }
}

impl Source for ConfinedFiles {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn boundedness(&self) -> Boundedness {
        self.inner.boundedness()
    }

    fn changelog(&self) -> ChangelogMode {
        self.inner.changelog()
    }

    fn in_order(&self) -> bool {
        self.inner.in_order()
    }

    fn discover(&self) -> Result<Vec<Split>> {
        self.checked(self.inner.discover()?)
    }

    fn discover_new(&self) -> Result<Vec<Split>> {
        self.checked(self.inner.discover_new()?)
    }

    fn whole(&self, split: &Split) -> String {
        self.inner.whole(split)
    }

    fn discovery_interval(&self) -> Option<std::time::Duration> {
        self.inner.discovery_interval()
    }

    fn completed(&self, positions: &[(&Split, &Position)], last: bool) {
        self.inner.completed(positions, last);
    }

    fn health(&self) -> SourceHealth {
        self.inner.health()
    }

    fn start_moves(&self) -> bool {
        self.inner.start_moves()
    }

    fn stop_waiting(&self) {
        self.inner.stop_waiting();
    }

    fn open(&self, split: &Split, position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        self.check(split)?;
        self.inner.open(split, position)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_connectors::registry::Registry;

    use super::*;

    #[test]
    fn every_connector_says_what_it_touches() {
        let known: Vec<&str> = CONTACTS.iter().map(|(name, _)| *name).collect();
        let all: Vec<&str> = Registry::standard().describe().iter().map(|connector| connector.name).collect();
        assert_eq!(known, all, "what does a job of a server touch with the connector that is missing here?");
    }

    #[test]
    fn kafka_loads_no_code_and_reads_no_foreign_file() {
        let folder = tempfile::tempdir().unwrap();
        let reach = Arc::new(Reach::new(folder.path(), &[], &["kafka.internal:9092".to_string()]).unwrap());
        let inner = RegistryConnectors::new(Registry::standard());
        let confined = ConfinedConnectors::new(inner, reach, Secrets::default());
        for (key, value, fine) in [
            ("properties.bootstrap.servers", "kafka.internal:9092,localhost:9093", true),
            ("properties.bootstrap.servers", "kafka.internal:9092, evil.net:9092", false),
            ("properties.plugin.library.paths", "/tmp/x.so", false),
            ("properties.sasl.kerberos.kinit.cmd", "sh -c id", false),
            ("properties.ssl.ca.location", "ca.pem", true),
            ("properties.ssl.ca.location", "/etc/ssl/ca.pem", false),
            ("properties.sasl.kerberos.keytab", "../keytab", false),
            ("value.avro-confluent.url", "http://localhost:8081", true),
            ("value.avro-confluent.url", "http://evil.net:8081", false),
            ("properties.sasl.oauthbearer.token.endpoint.url", "https://evil.net/t", false),
            ("properties.sasl.jaas.config", "x required tokenEndpointUrl=\"https://evil.net/t\";", false),
            ("properties.sasl.mechanism", "AWS_MSK_IAM", false),
            ("properties.group.id", "g", true),
        ] {
            assert_eq!(confined.check_kafka(key, value).is_ok(), fine, "{key} = {value}");
        }
    }
}
