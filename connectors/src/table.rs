//! What a connector is told about a table: columns, keys and options, already resolved by whoever read the DDL.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::options::{OptionDef, OptionProblem, values};

/// A column that the connector fills from what it knows about a record (`METADATA FROM 'key'`).
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataColumn {
    /// Name of the column in the table.
    pub name: String,
    /// The connector's key, such as `file.path`.
    pub key: String,
    /// The declared type; values are cast to it.
    pub data_type: DataType,
    /// INSERT leaves it out.
    pub is_virtual: bool,
}

/// A table as its connector sees it.
#[derive(Debug, Clone)]
pub struct TableSpec {
    pub name: String,
    /// Physical columns in the order of the DDL.
    pub columns: SchemaRef,
    pub metadata: Vec<MetadataColumn>,
    /// Names of physical columns, in the order of `PARTITIONED BY`.
    pub partition_keys: Vec<String>,
    pub primary_key: Vec<String>,
    /// The `WITH (...)` clause.
    pub options: BTreeMap<String, String>,
    /// IANA name of the session time zone.
    pub time_zone: String,
}

impl TableSpec {
    /// The value of an option, or its default; `None` where it has neither.
    pub fn text<'a>(&'a self, option: &'a OptionDef) -> Option<&'a str> {
        self.options.get(option.key).map(String::as_str).or(option.default)
    }

    /// As [`TableSpec::text`]; a missing value is a problem.
    pub fn required_text<'a>(&'a self, option: &'a OptionDef) -> Result<&'a str, OptionProblem> {
        self.text(option).ok_or_else(|| OptionProblem::missing(option, self.connector()))
    }

    pub fn boolean(&self, option: &OptionDef) -> Result<bool, OptionProblem> {
        Ok(self.parsed(option, values::boolean)?.unwrap_or(false))
    }

    pub fn integer(&self, option: &OptionDef) -> Result<Option<i64>, OptionProblem> {
        self.parsed(option, values::integer)
    }

    pub fn duration(&self, option: &OptionDef) -> Result<Option<std::time::Duration>, OptionProblem> {
        self.parsed(option, values::duration)
    }

    /// In bytes.
    pub fn size(&self, option: &OptionDef) -> Result<Option<u64>, OptionProblem> {
        self.parsed(option, values::size)
    }

    fn parsed<T>(&self, option: &OptionDef, parse: fn(&str) -> Option<T>) -> Result<Option<T>, OptionProblem> {
        let Some(text) = self.text(option) else { return Ok(None) };
        parse(text).map(Some).ok_or_else(|| OptionProblem::wrong_value(option.key, text, &option.kind))
    }

    /// The `connector` option; empty where it is missing.
    pub fn connector(&self) -> &str {
        self.options.get("connector").map_or("", String::as_str)
    }

    /// The fields of these physical and metadata columns, in the order asked for.
    pub fn project(&self, columns: &[String]) -> Result<SchemaRef, OptionProblem> {
        let fields = columns.iter().map(|name| self.field(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(SchemaRef::new(Schema::new(fields)))
    }

    fn field(&self, name: &str) -> Result<Field, OptionProblem> {
        if let Ok(field) = self.columns.field_with_name(name) {
            return Ok(field.clone());
        }
        let metadata = self.metadata.iter().find(|column| column.name == name);
        let column = metadata
            .ok_or_else(|| OptionProblem::new(format!("table '{}' has no physical column '{name}'", self.name)))?;
        Ok(Field::new(name, column.data_type.clone(), true))
    }
}
