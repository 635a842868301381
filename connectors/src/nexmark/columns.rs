//! Which declared column stands for what: names and types must be those of the benchmark, in any order, and columns
//! that nobody needs may be left out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use tidemill_engine::Result as EngineResult;
use tidemill_engine::suggestion::closest;
use tidemill_engine::type_name::sql_type_name;

use super::channels::Channels;
use super::fields::{Events, FieldDef, fields};
use super::options::TABLE;
use super::site::{Kind, Site};
use crate::options::OptionProblem;
use crate::table::TableSpec;

const EVENT_TYPE: &str = "event_type";
/// The rows of a table of all events.
const ROWS: &[(&str, Kind)] = &[("person", Kind::Person), ("auction", Kind::Auction), ("bid", Kind::Bid)];

/// A column of the table, or a field of one of its rows.
#[derive(Debug, Clone)]
pub enum Column {
    EventType,
    Field {
        def: FieldDef,
        nullable: bool,
    },
    /// NULL for events of other kinds.
    Row {
        kind: Kind,
        fields: Fields,
        defs: Vec<FieldDef>,
    },
}

/// The kind of event that a table's rows are; `None`: all kinds.
pub fn kind_of_table(spec: &TableSpec) -> Option<Kind> {
    let chosen = spec.text(&TABLE);
    ROWS.iter().find(|(name, _)| chosen == Some(name)).map(|(_, kind)| *kind)
}

pub fn resolve(spec: &TableSpec, field: &Field) -> Result<Column, OptionProblem> {
    match kind_of_table(spec) {
        Some(kind) => {
            let def = find(kind, field, field.name())?;
            Ok(Column::Field { def, nullable: field.is_nullable() })
        }
        None => column_of_all(field),
    }
}

fn column_of_all(field: &Field) -> Result<Column, OptionProblem> {
    let name = field.name();
    if name == EVENT_TYPE {
        return expect_type(field, name, &DataType::Int32).map(|()| Column::EventType);
    }
    let Some((_, kind)) = ROWS.iter().find(|(row, _)| row == name) else { return Err(unknown_of_all(name)) };
    let DataType::Struct(inner) = field.data_type() else {
        let message = format!("column '{name}' is a ROW, not {}", sql_type_name(field.data_type()));
        return Err(OptionProblem::new(message).hint(format!("declare it as {name} ROW<{}>", declared(*kind))));
    };
    if !field.is_nullable() {
        let message = format!("column '{name}' is NULL for other events, so it cannot be NOT NULL");
        return Err(OptionProblem::new(message).hint("leave NOT NULL out"));
    }
    let find = |field: &Arc<Field>| find(*kind, field, &format!("{name}.{}", field.name()));
    let defs = inner.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    Ok(Column::Row { kind: *kind, fields: inner.clone(), defs })
}

fn unknown_of_all(name: &str) -> OptionProblem {
    let names = || std::iter::once(EVENT_TYPE).chain(ROWS.iter().map(|(row, _)| *row));
    let problem = OptionProblem::new(format!("an event has no column '{name}'"));
    // A plain table of bids whose option was forgotten is the likely mistake.
    match ROWS.iter().find(|(_, kind)| fields(*kind).iter().any(|def| def.name == name)) {
        Some((row, _)) => problem.hint(format!("write '{}' = '{row}' for a table of one kind of event", TABLE.key)),
        None => problem.hint(offer(name, &names().collect::<Vec<_>>())),
    }
}

fn find(kind: Kind, field: &Field, path: &str) -> Result<FieldDef, OptionProblem> {
    let Some(def) = fields(kind).iter().find(|def| def.name == field.name()) else {
        let names: Vec<&str> = fields(kind).iter().map(|def| def.name).collect();
        let message = format!("{} has no column '{path}'", of_kind(kind));
        return Err(OptionProblem::new(message).hint(offer(field.name(), &names)));
    };
    expect_type(field, path, &def.data_type())?;
    Ok(*def)
}

fn expect_type(field: &Field, path: &str, expected: &DataType) -> Result<(), OptionProblem> {
    if field.data_type() == expected {
        return Ok(());
    }
    let (expected, found) = (sql_type_name(expected), sql_type_name(field.data_type()));
    Err(OptionProblem::new(format!("column '{path}' is {expected}, not {found}"))
        .hint(format!("declare it as {expected}, and CAST it in a computed column or the query")))
}

fn offer(name: &str, names: &[&str]) -> String {
    match closest(name, names.iter().copied()) {
        Some(close) => format!("did you mean '{close}'?"),
        None => format!("there are: '{}'", names.join("', '")),
    }
}

fn of_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Person => "a person",
        Kind::Auction => "an auction",
        Kind::Bid => "a bid",
    }
}

/// The fields of an event as DDL.
fn declared(kind: Kind) -> String {
    let of_field = |def: &FieldDef| format!("{} {}", def.name, sql_type_name(&def.data_type()));
    fields(kind).iter().map(of_field).collect::<Vec<_>>().join(", ")
}

impl Column {
    /// The column's values for these events, which are of the table's kind.
    pub fn values(&self, site: &Site, channels: &Channels, numbers: &[u64]) -> EngineResult<ArrayRef> {
        match self {
            Self::EventType => {
                Ok(Arc::new(numbers.iter().map(|event| site.kind(*event).code()).collect::<Int32Array>()))
            }
            Self::Field { def, nullable } => def.values(site, channels, &Events { numbers, present: None }, *nullable),
            Self::Row { kind, fields, defs } => {
                let present: NullBuffer = numbers.iter().map(|event| site.kind(*event) == *kind).collect();
                let events = Events { numbers, present: Some(present.clone()) };
                let inner = fields.iter().zip(defs);
                let arrays = inner.map(|(field, def)| def.values(site, channels, &events, field.is_nullable()));
                let arrays = arrays.collect::<EngineResult<Vec<_>>>()?;
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), arrays, Some(present), numbers.len())?))
            }
        }
    }

    /// The column needs the channels' addresses.
    pub fn needs_channels(&self) -> bool {
        let of_channel = |def: &FieldDef| matches!(def.name, "channel" | "url");
        match self {
            Self::EventType => false,
            Self::Field { def, .. } => of_channel(def),
            Self::Row { defs, .. } => defs.iter().any(of_channel),
        }
    }
}
