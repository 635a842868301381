//! Asks a PostgreSQL table for the rows of many keys at once, over a few connections that are kept.

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use parking_lot::Mutex;
use tidemill_engine::lookup::{Answer, Found, Lookup, LookupFailure, Question};
use tidemill_engine::type_name::sql_type_name;

use super::connection::{Connection, Login};
use super::types::{KeyCast, decode, fetch, key_cast};
use crate::format::json::TimestampStandard;
use crate::format::scalar::write_plain;

/// Name of the prepared statement.
const STATEMENT: &str = "lookup";

pub struct PostgresLookup {
    pub login: Login,
    /// As SQL, with its quotes.
    pub table: String,
    /// Names and types of the key columns; the types are those of the questions' columns.
    pub keys: Vec<(String, DataType)>,
    /// Of the rows.
    pub schema: SchemaRef,
    /// Connections that nobody uses just now.
    pub idle: Mutex<Vec<Session>>,
}

/// A connection with its prepared statement.
pub struct Session {
    connection: Connection,
    /// By column of the answer; the first is the number of the key.
    formats: Vec<i16>,
    casts: Vec<KeyCast>,
}

impl Lookup for PostgresLookup {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// A connection on which something failed is not used again.
    fn ask(&self, question: &Question) -> Result<Answer, LookupFailure> {
        let idle = self.idle.lock().pop();
        let mut session = idle.map_or_else(|| self.open(), Ok)?;
        let answer = match question {
            Question::Open(_) => Answer::Ready,
            Question::Keys(keys) => Answer::Rows(self.find(&mut session, keys)?),
        };
        self.idle.lock().push(session);
        Ok(answer)
    }
}

impl PostgresLookup {
    /// Looks at the types of the table's columns, and prepares the statement that fits them.
    fn open(&self) -> Result<Session, LookupFailure> {
        let mut connection = Connection::open(&self.login)?;
        let columns = self.schema.fields().iter().map(|field| field.name());
        let all: Vec<String> = columns.chain(self.keys.iter().map(|(name, _)| name)).map(|name| own(name)).collect();
        let types =
            connection.prepare("", &format!("SELECT {} FROM {} AS t WHERE false", all.join(", "), self.table))?;
        if types.len() != all.len() {
            return Err(LookupFailure::Lasting("the server gave no types of the table's columns".into()));
        }
        let (columns, keys) = types.split_at(self.schema.fields().len());
        let casts = self.keys.iter().zip(keys).map(|((name, data_type), found)| {
            key_cast(data_type, *found).ok_or_else(|| self.unfit(&mut connection, name, data_type, *found))
        });
        let casts = casts.collect::<Result<Vec<_>, _>>()?;
        let fetches = self.schema.fields().iter().zip(columns).map(|(field, found)| {
            fetch(&own(field.name()), field.data_type(), *found)
                .ok_or_else(|| self.unfit(&mut connection, field.name(), field.data_type(), *found))
        });
        let fetches = fetches.collect::<Result<Vec<_>, _>>()?;
        let expressions: Vec<String> = fetches.iter().map(|fetch| fetch.expression.clone()).collect();
        connection.prepare(STATEMENT, &self.statement(&expressions, &casts))?;
        let formats = std::iter::once(1).chain(fetches.iter().map(|fetch| fetch.format)).collect();
        Ok(Session { connection, formats, casts })
    }

    /// One round trip for many keys: each row comes with the number of its key, so that what is equal is decided in one
    /// place, the database.
    fn statement(&self, columns: &[String], casts: &[KeyCast]) -> String {
        let numbered = |text: &dyn Fn(usize, &KeyCast) -> String, between: &str| {
            casts.iter().enumerate().map(|(index, cast)| text(index, cast)).collect::<Vec<_>>().join(between)
        };
        let arrays = numbered(&|index, _| format!("${}::text[]", index + 1), ", ");
        let names = numbered(&|index, _| format!("k{index}"), ", ");
        let values = numbered(&|index, cast| format!("x.k{index}::{} AS k{index}", cast.key), ", ");
        let equal = |index: usize, cast: &KeyCast| {
            let column = own(&self.keys[index].0);
            let column = cast.column.map_or_else(|| column.clone(), |to| format!("{column}::{to}"));
            format!("{column} = k.k{index}")
        };
        let columns: String = columns.iter().map(|column| format!(", {column}")).collect();
        format!(
            "SELECT k.n{columns} FROM (SELECT x.n, {values} FROM unnest({arrays}) WITH ORDINALITY AS x({names}, n)) AS k \
             JOIN {} AS t ON {}",
            self.table,
            numbered(&equal, " AND ")
        )
    }

    fn find(&self, session: &mut Session, keys: &RecordBatch) -> Result<Found, LookupFailure> {
        let possible: Vec<u32> =
            (0..keys.num_rows() as u32).filter(|row| can_exist(session, keys, *row as usize)).collect();
        let texts = |column: &ArrayRef| possible.iter().map(|row| text_of(column, *row as usize)).collect::<Vec<_>>();
        let arrays: Vec<Vec<Vec<u8>>> = keys.columns().iter().map(texts).collect();
        if possible.is_empty() {
            return Ok(Found { rows: RecordBatch::new_empty(self.schema.clone()), key_of_row: Vec::new() });
        }
        let rows = session.connection.ask(STATEMENT, &arrays, &session.formats)?;
        let unreadable =
            |name: &str, reason: String| LookupFailure::Lasting(format!("column {name} of {}: {reason}", self.table));
        let numbers = decode(&DataType::Int64, &rows.column(0)).map_err(|reason| unreadable("n", reason))?;
        let key = |number: &i64| usize::try_from(number - 1).ok().and_then(|index| possible.get(index).copied());
        let key_of_row: Option<Vec<u32>> = numbers.as_primitive::<Int64Type>().values().iter().map(key).collect();
        let key_of_row = key_of_row.ok_or_else(|| unreadable("n", "a row belongs to no key".into()))?;
        let columns = self.schema.fields().iter().enumerate().map(|(index, field)| {
            decode(field.data_type(), &rows.column(index + 1)).map_err(|reason| unreadable(field.name(), reason))
        });
        let options = RecordBatchOptions::new().with_row_count(Some(key_of_row.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns.collect::<Result<_, _>>()?, &options);
        let rows = rows.map_err(|error| LookupFailure::Engine(error.into()))?;
        Ok(Found { rows, key_of_row })
    }

    fn unfit(&self, connection: &mut Connection, name: &str, wanted: &DataType, found: u32) -> LookupFailure {
        let arrays = [vec![found.to_string().into_bytes()]];
        let named = connection.prepare("", "SELECT format_type(x::oid, NULL)::text FROM unnest($1::text[]) AS x");
        let named = named.and_then(|_| connection.ask("", &arrays, &[1]));
        let named =
            named.ok().and_then(|rows| Some(String::from_utf8_lossy(rows.column(0).first()?.as_ref()?).into_owned()));
        let found = named.unwrap_or_else(|| format!("the type with OID {found}"));
        let wanted = sql_type_name(wanted);
        LookupFailure::Lasting(format!("column {name} of {} is {found}, which does not fit {wanted}", self.table))
    }
}

/// A column of the table.
fn own(name: &str) -> String {
    format!("t.{}", quoted(name))
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// False for keys that no row can have and that the server would refuse.
fn can_exist(session: &Session, keys: &RecordBatch, row: usize) -> bool {
    session.casts.iter().zip(keys.columns()).all(|(cast, column)| match column.as_string_opt::<i32>() {
        None => true,
        Some(texts) => !texts.value(row).contains('\0') && (!cast.is_uuid || is_uuid(texts.value(row))),
    })
}

/// 32 hexadecimal digits, in groups or not, in braces or not.
fn is_uuid(text: &str) -> bool {
    let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'));
    let Some(inner) = inner else { return false };
    let digits = inner.bytes().filter(u8::is_ascii_hexdigit).count();
    let grouped = inner.len() == 36 && [8, 13, 18, 23].iter().all(|index| inner.as_bytes()[*index] == b'-');
    digits == 32 && (inner.len() == 32 || grouped)
}

/// A key as PostgreSQL reads it.
fn text_of(column: &ArrayRef, row: usize) -> Vec<u8> {
    let mut text = Vec::new();
    match column.as_binary_opt::<i32>() {
        None => write_plain(column, row, TimestampStandard::Sql, &mut text),
        Some(bytes) => {
            text.extend(b"\\x");
            let hex = |byte: &u8| format!("{byte:02x}").into_bytes();
            text.extend(bytes.value(row).iter().flat_map(hex));
        }
    }
    text
}

impl std::fmt::Debug for PostgresLookup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLookup").field("table", &self.table).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_told_from_other_texts() {
        assert!(is_uuid("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11") && is_uuid("{a0eebc999c0b4ef8bb6d6bb9bd380a11}"));
        assert!(!is_uuid("") && !is_uuid("a0eebc99") && !is_uuid("{a0eebc999c0b4ef8bb6d6bb9bd380a11") && !is_uuid("é"));
    }

    #[test]
    fn names_keep_their_letters_and_quotes() {
        assert_eq!(quoted("user\"Id"), "\"user\"\"Id\"");
    }
}
