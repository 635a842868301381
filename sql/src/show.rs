//! The answers of SHOW, DESCRIBE and SET.

use std::fmt::Write;

use arrow::datatypes::{Field, SchemaRef};
use sqlparser::ast::Ident;

use crate::catalog::{Column, ColumnKind, Entry, Relation, TableDefinition, ViewDefinition};
use crate::diagnostic::Diagnostic;
use crate::parser::statement::{Show, Text};
use crate::plan::{PlanContext, function_names, query_schema};
use crate::secret::is_secret;
use crate::session::{Outcome, Rows};
use crate::settings::Settings;
use crate::types::{SqlType, quote_identifier, quote_string};

pub(crate) fn show(context: &PlanContext<'_>, what: &Show) -> Result<Outcome, Diagnostic> {
    let names = |views_only: bool| -> Vec<String> {
        let entries = context.catalog.entries().filter(|(_, entry)| !views_only || matches!(entry, Entry::View(_)));
        entries.map(|(name, _)| name.to_string()).collect()
    };
    match what {
        // Flink lists views among the tables.
        Show::Tables { like } => Ok(list("table name", names(false), like.as_ref())),
        Show::Views { like } => Ok(list("view name", names(true), like.as_ref())),
        Show::Functions { like } => Ok(list("function name", function_names(context.settings), like.as_ref())),
        Show::Columns { table, like } => columns(context, table, like.as_ref()),
        Show::CreateTable(name) => match context.catalog.require(name)? {
            Relation::Table(table) => Ok(Outcome::Text(create_table(table))),
            _ => Err(Diagnostic::at(name.span, format!("`{}` is not a table", name.value))
                .with_hint("SHOW CREATE VIEW shows a view")),
        },
        Show::CreateView(name) => match context.catalog.require(name)? {
            Relation::View(view) => Ok(Outcome::Text(create_view(view))),
            _ => Err(Diagnostic::at(name.span, format!("`{}` is not a view", name.value))),
        },
    }
}

fn list(column: &'static str, names: Vec<String>, like: Option<&Text>) -> Outcome {
    let kept = names.into_iter().filter(|name| like.is_none_or(|like| matches_like(name, &like.value)));
    Outcome::Rows(Rows { columns: vec![column], rows: kept.map(|name| vec![name]).collect() })
}

/// SQL's LIKE without an escape character: `%` is any text, `_` any character. Who looks for a name may not know its case.
pub fn matches_like(text: &str, pattern: &str) -> bool {
    let (text, pattern) = (text.to_lowercase(), pattern.to_lowercase());
    let text: Vec<char> = text.chars().collect();
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in pattern.chars() {
        let before = reached.clone();
        let mut any_before = false;
        for index in 0..=text.len() {
            any_before |= before[index];
            reached[index] = match part {
                '%' => any_before,
                '_' => index > 0 && before[index - 1],
                c => index > 0 && before[index - 1] && text[index - 1] == c,
            };
        }
    }
    reached[text.len()]
}

/// One row per column, as Flink's DESCRIBE gives it.
pub(crate) fn describe(context: &PlanContext<'_>, name: &Ident) -> Result<Outcome, Diagnostic> {
    columns(context, name, None)
}

fn columns(context: &PlanContext<'_>, name: &Ident, like: Option<&Text>) -> Result<Outcome, Diagnostic> {
    let relation = context.catalog.require(name)?;
    let mut described = match relation {
        Relation::Table(table) => table.columns.iter().map(|column| Described::of_column(table, column)).collect(),
        Relation::View(view) => {
            let schema = query_schema(context, &view.query).map_err(|error| in_view(error, view, name))?;
            described_fields(&schema, &view.columns)
        }
        Relation::Late(table) => described_fields(&table.schema(), &[]),
        Relation::Errors(_) => described_fields(&tidemill_engine::source::rejected_schema(), &[]),
    };
    described.retain(|column| like.is_none_or(|like| matches_like(&column.name, &like.value)));
    Ok(Outcome::Rows(rows(described)))
}

/// The view was fine when it was declared: its places are in another text.
fn in_view(error: Diagnostic, view: &ViewDefinition, name: &Ident) -> Diagnostic {
    Diagnostic::at(name.span, format!("the view `{}` is not valid any more: {}", view.name, error.message))
}

fn described_fields(schema: &SchemaRef, names: &[String]) -> Vec<Described> {
    let fields = schema.fields().iter().enumerate();
    fields.map(|(index, field)| Described::of_field(names.get(index).unwrap_or(field.name()), field)).collect()
}

/// A line of DESCRIBE.
struct Described {
    name: String,
    data_type: String,
    nullable: bool,
    key: String,
    extras: String,
    watermark: String,
    comment: Option<String>,
}

impl Described {
    fn of_field(name: &str, field: &Field) -> Self {
        Self {
            name: name.to_string(),
            data_type: SqlType::from_arrow(field.data_type(), true).kind.to_string(),
            nullable: field.is_nullable(),
            key: String::new(),
            extras: String::new(),
            watermark: String::new(),
            comment: None,
        }
    }

    fn of_column(table: &TableDefinition, column: &Column) -> Self {
        let watermark = table.watermark.as_ref().filter(|watermark| watermark.column == column.name);
        let attribute = match column.expression_text.as_deref() {
            _ if watermark.is_some() => " *ROWTIME*",
            Some(text) if text.eq_ignore_ascii_case("PROCTIME()") => " *PROCTIME*",
            _ => "",
        };
        let is_key = table.primary_key.contains(&column.name);
        Self {
            name: column.name.clone(),
            data_type: format!("{}{attribute}", column.sql_type.kind),
            nullable: column.nullable,
            key: if is_key { format!("PRI({})", table.primary_key.join(", ")) } else { String::new() },
            extras: extras(column),
            watermark: watermark.map_or_else(String::new, |watermark| watermark.text.clone()),
            comment: column.comment.clone(),
        }
    }
}

/// Flink shows the comments only where there are any.
fn rows(described: Vec<Described>) -> Rows {
    let with_comments = described.iter().any(|column| column.comment.is_some());
    let mut columns = vec!["name", "type", "null", "key", "extras", "watermark"];
    columns.extend(with_comments.then_some("comment"));
    let row = |column: Described| {
        let null = if column.nullable { "TRUE" } else { "FALSE" };
        let mut cells =
            vec![column.name, column.data_type, null.to_string(), column.key, column.extras, column.watermark];
        cells.extend(with_comments.then(|| column.comment.unwrap_or_default()));
        cells
    };
    Rows { columns, rows: described.into_iter().map(row).collect() }
}

fn extras(column: &Column) -> String {
    match &column.kind {
        ColumnKind::Physical => String::new(),
        ColumnKind::Computed(expression) => match &column.expression_text {
            Some(text) => format!("AS {text}"),
            None => format!("AS {expression}"),
        },
        ColumnKind::Metadata { key, virtual_ } => {
            let from = if *key == column.name { String::new() } else { format!(" FROM {}", quote_string(key)) };
            format!("METADATA{from}{}", if *virtual_ { " VIRTUAL" } else { "" })
        }
    }
}

/// The statement that declares the table anew.
pub(crate) fn create_table(table: &TableDefinition) -> String {
    let temporary = if table.temporary { "TEMPORARY " } else { "" };
    let mut parts: Vec<String> = table.columns.iter().map(column_clause).collect();
    if let Some(watermark) = &table.watermark {
        parts.push(format!("WATERMARK FOR {} AS {}", quote_identifier(&watermark.column), watermark.text));
    }
    if !table.primary_key.is_empty() {
        parts.push(format!("PRIMARY KEY ({}) NOT ENFORCED", identifiers(&table.primary_key)));
    }
    let mut out = format!("CREATE {temporary}TABLE {} (\n{}\n)", quote_identifier(&table.name), indented(&parts));
    if let Some(comment) = &table.comment {
        let _ = write!(out, "\nCOMMENT {}", quote_string(comment));
    }
    if !table.partitioned_by.is_empty() {
        let _ = write!(out, "\nPARTITIONED BY ({})", identifiers(&table.partitioned_by));
    }
    if !table.options.is_empty() {
        let shown = |key: &str, value: &str| quote_string(if is_secret(key) { HIDDEN } else { value });
        let option = |(key, value): (&String, &String)| format!("{} = {}", quote_string(key), shown(key, value));
        let options: Vec<String> = table.options.iter().map(option).collect();
        let _ = write!(out, "\nWITH (\n{}\n)", indented(&options));
    }
    out
}

/// What stands for a value that nobody should read over a shoulder.
const HIDDEN: &str = "******";

fn indented(parts: &[String]) -> String {
    parts.iter().map(|part| format!("  {part}")).collect::<Vec<_>>().join(",\n")
}

fn identifiers(names: &[String]) -> String {
    names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
}

fn column_clause(column: &Column) -> String {
    let name = quote_identifier(&column.name);
    let clause = match &column.kind {
        ColumnKind::Physical => format!("{name} {}", column.sql_type),
        ColumnKind::Computed(_) => format!("{name} {}", extras(column)),
        ColumnKind::Metadata { .. } => format!("{name} {} {}", column.sql_type, extras(column)),
    };
    match &column.comment {
        Some(comment) => format!("{clause} COMMENT {}", quote_string(comment)),
        None => clause,
    }
}

/// The statement that declares the view anew.
fn create_view(view: &ViewDefinition) -> String {
    let temporary = if view.temporary { "TEMPORARY " } else { "" };
    let mut out = format!("CREATE {temporary}VIEW {}", quote_identifier(&view.name));
    if !view.columns.is_empty() {
        let _ = write!(out, " ({})", identifiers(&view.columns));
    }
    if let Some(comment) = &view.comment {
        let _ = write!(out, " COMMENT {}", quote_string(comment));
    }
    let _ = write!(out, " AS\n{}", view.query_text);
    out
}

/// What was set.
pub(crate) fn settings(settings: &Settings) -> Outcome {
    let rows = settings.set_values().map(|(key, value)| vec![key.to_string(), value.to_string()]);
    Outcome::Rows(Rows { columns: vec!["key", "value"], rows: rows.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_patterns() {
        for (text, pattern, expected) in [
            ("bids", "b%", true),
            ("bids", "%d_", true),
            ("bids", "bid", false),
            ("", "%", true),
            ("", "_", false),
            ("UPPER", "upp%", true),
            ("Bids", "bIDS", true),
            ("a%b", "a%b", true),
            ("aab", "a%a%b", true),
            ("ab", "a%a%b", false),
        ] {
            assert_eq!(matches_like(text, pattern), expected, "{text} LIKE {pattern}");
        }
    }
}
