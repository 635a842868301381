//! The `jdbc` connector: rows looked up in PostgreSQL. No JDBC is in it; tables are declared as for Flink's connector of
//! that name.
//!
//! [`url`] reads the address, [`wire`] carries messages, [`password`] and [`connection`] speak the protocol, [`types`] maps
//! values, [`asking`] finds the rows of keys.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use parking_lot::Mutex;
use tidemill_engine::lookup::KeyedLookup;
use tidemill_engine::type_name::sql_type_name;

use crate::lookup::{self, LookupOptions};
use crate::options::{OptionDef, OptionProblem, OptionType};
use crate::registry::{Connector, Usage};
use crate::table::TableSpec;

mod asking;
mod connection;
mod password;
mod types;
mod url;
mod wire;

use asking::{PostgresLookup, quoted};
use connection::Login;
use url::Address;

/// Connections of one instance: enough to keep a server busy with questions of many keys, few of the hundred that a
/// PostgreSQL server takes by default.
const CONNECTIONS_MAX: usize = 4;
/// Keys of one question: more would let all wait for the slowest.
const KEYS_PER_QUESTION: usize = 1_000;

const URL: OptionDef = OptionDef::new(
    "url",
    OptionType::Text,
    "the database: 'jdbc:postgresql://host:port/database', with '?sslmode=verify-full' for TLS (and '&sslrootcert=file' for \
     an authority of one's own)",
)
.required();
const TABLE_NAME: OptionDef =
    OptionDef::new("table-name", OptionType::Text, "the table or view there, such as 'users' or 'shop.users'")
        .required();
const USERNAME: OptionDef = OptionDef::new("username", OptionType::Text, "who signs in; 'postgres' unless given");
const PASSWORD: OptionDef = OptionDef::new("password", OptionType::Text, "never shown");
const TIMEOUT: OptionDef = OptionDef::new(
    "connection.max-retry-timeout",
    OptionType::Duration,
    "how long connecting, and each request, may take",
)
.default("60 s");

/// The connector.
pub struct Jdbc;

impl Connector for Jdbc {
    fn name(&self) -> &'static str {
        "jdbc"
    }

    fn doc(&self) -> &'static str {
        "looks rows up in a PostgreSQL table or view, many keys per request"
    }

    fn options(&self, _spec: Option<&TableSpec>) -> Vec<OptionDef> {
        let own = [URL, TABLE_NAME, USERNAME, PASSWORD, TIMEOUT].into_iter().map(OptionDef::source);
        own.chain(lookup::OPTIONS).collect()
    }

    fn looks_up(&self, _spec: Option<&TableSpec>) -> bool {
        true
    }

    fn check(&self, spec: &TableSpec, _usage: Usage) -> Vec<OptionProblem> {
        let checks = [login(spec).map(|_| ()), table(spec).map(|_| ()), LookupOptions::of(spec).map(|_| ())];
        let columns = spec.columns.fields().iter().filter(|field| !types::is_mapped(field.data_type())).map(|field| {
            let message = format!(
                "column '{}': no PostgreSQL type is read as {}",
                field.name(),
                sql_type_name(field.data_type())
            );
            OptionProblem::new(message).hint("use STRING for JSON, UUID and other types that have no counterpart")
        });
        checks.into_iter().filter_map(Result::err).chain(columns).collect()
    }

    fn lookup(
        &self,
        spec: &TableSpec,
        columns: &[String],
        keys: &[(String, DataType)],
    ) -> Result<KeyedLookup, OptionProblem> {
        let LookupOptions { cache, retries_max, is_async } = LookupOptions::of(spec)?;
        let lookup = PostgresLookup {
            login: login(spec)?,
            table: table(spec)?,
            keys: keys.to_vec(),
            schema: spec.project(columns)?,
            idle: Mutex::default(),
        };
        Ok(KeyedLookup {
            lookup: Arc::new(lookup),
            keys: (0..keys.len()).collect(),
            keys_per_question: KEYS_PER_QUESTION,
            questions_max: CONNECTIONS_MAX,
            cache,
            retries_max,
            is_async,
        })
    }
}

fn login(spec: &TableSpec) -> Result<Login, OptionProblem> {
    let address = Address::parse(spec.required_text(&URL)?);
    Ok(Login {
        address: address.map_err(|(message, hint)| OptionProblem::at(URL.key, message).hint(hint))?,
        user: spec.text(&USERNAME).unwrap_or("postgres").to_string(),
        password: spec.text(&PASSWORD).map(str::to_string),
        limit: spec.duration(&TIMEOUT)?.filter(|limit| !limit.is_zero()).unwrap_or(Duration::from_secs(60)),
    })
}

/// The table's name as SQL: its parts quoted, unless that was done already.
fn table(spec: &TableSpec) -> Result<String, OptionProblem> {
    let name = spec.required_text(&TABLE_NAME)?;
    let parts: Vec<&str> = name.split('.').collect();
    let bare = |part: &&str| !part.is_empty() && !part.contains(['"', '\0']);
    if name.starts_with('"') && name.ends_with('"') && name.len() > 2 && !name.contains('\0') {
        let inner: Vec<&str> = name[1..name.len() - 1].split("\".\"").collect();
        if inner.iter().all(|part| !part.is_empty() && !part.contains('"')) {
            return Ok(name.to_string());
        }
    }
    if !parts.iter().all(bare) {
        let problem = OptionProblem::at(TABLE_NAME.key, format!("'{name}' is no name of a table"));
        return Err(problem.hint("write 'users', 'shop.users' or '\"Shop\".\"Users\"'"));
    }
    Ok(parts.iter().map(|part| quoted(part)).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;

    #[test]
    fn names_of_tables_are_quoted_once() {
        let table_of = |name: &str| {
            let options = [("table-name".to_string(), name.to_string())].into();
            let spec = TableSpec {
                name: "d".into(),
                columns: Schema::empty().into(),
                metadata: Vec::new(),
                partition_keys: Vec::new(),
                primary_key: Vec::new(),
                options,
                time_zone: "UTC".into(),
            };
            table(&spec).ok()
        };
        assert_eq!(table_of("users").as_deref(), Some("\"users\""));
        assert_eq!(table_of("shop.Users").as_deref(), Some("\"shop\".\"Users\""));
        assert_eq!(table_of("\"a.b\".\"C\"").as_deref(), Some("\"a.b\".\"C\""));
        for wrong in ["", "a..b", "a\"b", "\"a\"; DROP TABLE x; --\""] {
            assert_eq!(table_of(wrong), None, "{wrong}");
        }
    }
}
