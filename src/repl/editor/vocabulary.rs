//! The words that completion, colours and hints know: of the language, of the connectors, and of the session.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use tidemill_connectors::format::FORMATS;
use tidemill_connectors::registry::{ConnectorDescription, Registry};
use tidemill_sql::catalog::Entry;
use tidemill_sql::plan::query_schema;
use tidemill_sql::session::Session;
use tidemill_sql::settings::{OPTIONS, ValueKind};

/// Words of the language, without functions.
pub const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ARRAY",
    "AS",
    "ASC",
    "BEGIN",
    "BETWEEN",
    "BIGINT",
    "BOOLEAN",
    "BY",
    "CASE",
    "CAST",
    "COMMENT",
    "CREATE",
    "CROSS",
    "CUMULATE",
    "DATE",
    "DAY",
    "DECIMAL",
    "DESC",
    "DESCRIBE",
    "DESCRIPTOR",
    "DISTINCT",
    "DOUBLE",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXCLUDING",
    "EXECUTE",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FLOAT",
    "FOR",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "HOP",
    "HOUR",
    "IF",
    "IN",
    "INCLUDING",
    "INNER",
    "INSERT",
    "INT",
    "INTERSECT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LATERAL",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAP",
    "METADATA",
    "MINUTE",
    "MONTH",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PARTITIONED",
    "PRECEDING",
    "PRIMARY",
    "QUALIFY",
    "RANGE",
    "RESET",
    "RIGHT",
    "ROW",
    "ROWS",
    "SECOND",
    "SELECT",
    "SESSION",
    "SET",
    "SHOW",
    "SMALLINT",
    "STATEMENT",
    "STRING",
    "SYSTEM_TIME",
    "TABLE",
    "TABLES",
    "TEMPORARY",
    "THEN",
    "TIME",
    "TIMESTAMP",
    "TIMESTAMP_LTZ",
    "TINYINT",
    "TO",
    "TRUE",
    "TUMBLE",
    "UNBOUNDED",
    "UNION",
    "UNNEST",
    "USING",
    "VALUES",
    "VARCHAR",
    "VIEW",
    "VIEWS",
    "VIRTUAL",
    "WATERMARK",
    "WHEN",
    "WHERE",
    "WITH",
    "YEAR",
    "ENFORCED",
    "FUNCTIONS",
    "COLUMNS",
    "CURRENT",
    "RECURSIVE",
    "OF",
];

pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}

/// What does not change while the program runs.
static CONNECTORS: LazyLock<Vec<ConnectorDescription>> = LazyLock::new(|| Registry::standard().describe());
static FUNCTIONS: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let docs = crate::list::function_groups().into_iter().flat_map(|(_, docs)| docs);
    docs.map(|doc| (doc.name, format!("{}: {}", doc.usage, doc.doc))).collect()
});

/// A word that could follow, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    pub word: String,
    pub about: String,
}

fn known(word: impl Into<String>, about: impl Into<String>) -> Known {
    Known { word: word.into(), about: about.into() }
}

/// The session's names at one moment.
#[derive(Debug, Default)]
pub struct Vocabulary {
    /// Tables and views with their columns.
    tables: BTreeMap<String, Vec<Known>>,
}

impl Vocabulary {
    pub fn of(session: &Session) -> Self {
        let context = session.context();
        let columns = |entry: &Entry| match entry {
            Entry::Table(table) => {
                table.columns.iter().map(|column| known(&column.name, column.sql_type.kind.to_string())).collect()
            }
            Entry::View(view) => match query_schema(&context, &view.query) {
                Ok(schema) if view.columns.is_empty() => {
                    schema.fields().iter().map(|field| known(field.name(), "")).collect()
                }
                _ => view.columns.iter().map(|column| known(column, "")).collect(),
            },
        };
        let entries = session.catalog().entries().map(|(name, entry)| (name.to_string(), columns(entry)));
        Self { tables: entries.collect() }
    }

    pub fn is_function(&self, word: &str) -> bool {
        FUNCTIONS.contains_key(&word.to_uppercase())
    }

    /// How a function is called, and what it gives.
    pub fn usage(&self, function: &str) -> Option<&'static str> {
        FUNCTIONS.get(&function.to_uppercase()).map(String::as_str)
    }

    pub fn functions(&self) -> impl Iterator<Item = &'static str> {
        FUNCTIONS.keys().map(String::as_str)
    }

    pub fn tables(&self) -> Vec<Known> {
        let about =
            |columns: &Vec<Known>| columns.iter().map(|column| column.word.as_str()).collect::<Vec<_>>().join(", ");
        self.tables.iter().map(|(name, columns)| known(name, about(columns))).collect()
    }

    pub fn columns(&self, table: &str) -> &[Known] {
        self.tables.get(table).map_or(&[], Vec::as_slice)
    }

    /// Of all tables, where it is not said yet which one is read.
    pub fn all_columns(&self) -> Vec<Known> {
        self.tables.values().flatten().cloned().collect()
    }

    /// Keys that a table of this connector takes, with those of its format.
    pub fn option_keys(&self, connector: Option<&str>, format: Option<&str>) -> Vec<Known> {
        let Some(connector) = connector.and_then(|name| CONNECTORS.iter().find(|found| found.name == name)) else {
            return vec![known("connector", "which connector the table uses")];
        };
        // A connector lists the options of every format; those of others than the table's would be in the way.
        let of_another = |key: &str| {
            let mut formats = FORMATS.iter().filter(|found| Some(found.name) != format);
            formats.any(|found| key.strip_prefix(found.name).is_some_and(|rest| rest.starts_with('.')))
        };
        let own = connector.options.iter().filter(|option| !of_another(option.key));
        let mut keys: Vec<Known> = own.map(|option| known(option.key, option.doc)).collect();
        for format in FORMATS.iter().filter(|found| Some(found.name) == format) {
            keys.extend(format.options.iter().map(|option| known(option.key, option.description)));
        }
        let mut seen = HashSet::new();
        keys.retain(|key| seen.insert(key.word.clone()));
        keys
    }

    /// Values that an option of a table takes.
    pub fn option_values(&self, connector: Option<&str>, key: &str) -> Vec<Known> {
        if key == "connector" {
            return CONNECTORS.iter().map(|connector| known(connector.name, connector.doc)).collect();
        }
        if key == "format" || key.ends_with(".format") {
            return FORMATS.iter().map(|format| known(format.name, format.description)).collect();
        }
        let connectors = CONNECTORS.iter().filter(|found| connector.is_none_or(|name| found.name == name));
        let option = connectors.flat_map(|found| &found.options).find(|option| option.key == key);
        let takes = option.map_or("", |option| option.takes.as_str());
        // `one of 'a', 'b'` and `'true' or 'false'`; an example of what is taken is no value to offer.
        if takes.contains("such as") {
            return Vec::new();
        }
        takes.split('\'').skip(1).step_by(2).map(|value| known(value, "")).collect()
    }

    pub fn setting_keys(&self) -> Vec<Known> {
        OPTIONS
            .iter()
            .map(|option| known(option.key, option.default.map_or(String::new(), |value| format!("default {value}"))))
            .collect()
    }

    pub fn setting_values(&self, key: &str) -> Vec<Known> {
        let kind = OPTIONS.iter().find(|option| option.key == key).map(|option| &option.kind);
        match kind {
            Some(ValueKind::Bool) => vec![known("true", ""), known("false", "")],
            Some(ValueKind::Choice(words)) => words.iter().map(|word| known(*word, "")).collect(),
            _ => Vec::new(),
        }
    }
}
