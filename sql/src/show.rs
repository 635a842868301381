//! The answers of SHOW, DESCRIBE and SET.

use std::fmt::Write;

use sqlparser::ast::Ident;

use crate::catalog::{Column, ColumnKind, Entry, Relation, TableDefinition};
use crate::diagnostic::Diagnostic;
use crate::parser::statement::{Show, Text};
use crate::plan::{PlanContext, function_names, query_schema};
use crate::session::{Outcome, Rows};
use crate::settings::Settings;
use crate::types::{flink_name, quote_identifier, quote_string};

pub(crate) fn show(context: &PlanContext<'_>, what: &Show) -> Result<Outcome, Diagnostic> {
    let tables = |entry: &Entry| matches!(entry, Entry::Table(_));
    let names = |wanted: &dyn Fn(&Entry) -> bool| -> Vec<String> {
        context.catalog.entries().filter(|(_, entry)| wanted(entry)).map(|(name, _)| name.to_string()).collect()
    };
    match what {
        // Flink lists views among the tables.
        Show::Tables { like } => Ok(list("table name", names(&|_| true), like.as_ref())),
        Show::Views { like } => Ok(list("view name", names(&|entry| !tables(entry)), like.as_ref())),
        Show::Functions { like } => Ok(list("function name", function_names(context.settings), like.as_ref())),
        Show::Columns { table, like } => columns(context, table, like.as_ref()),
        Show::CreateTable(name) => match context.catalog.require(name)? {
            Relation::Table(table) => Ok(Outcome::Text(create_table(table))),
            _ => Err(Diagnostic::at(name.span, format!("`{}` is not a table", name.value))
                .with_hint("SHOW CREATE VIEW shows a view")),
        },
        Show::CreateView(name) => match context.catalog.require(name)? {
            Relation::View(view) => {
                let columns: Vec<String> = view.columns.iter().map(|column| quote_identifier(column)).collect();
                let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
                let temporary = if view.temporary { "TEMPORARY " } else { "" };
                let name = quote_identifier(&view.name);
                Ok(Outcome::Text(format!("CREATE {temporary}VIEW {name}{columns} AS\n{}", view.query_text)))
            }
            _ => Err(Diagnostic::at(name.span, format!("`{}` is not a view", name.value))),
        },
    }
}

fn list(column: &'static str, names: Vec<String>, like: Option<&Text>) -> Outcome {
    let kept = names.into_iter().filter(|name| like.is_none_or(|like| matches_like(name, &like.value)));
    Outcome::Rows(Rows { columns: vec![column], rows: kept.map(|name| vec![name]).collect() })
}

/// SQL's LIKE without an escape character: `%` is any text, `_` any character.
fn matches_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for part in pattern {
        let before = reached.clone();
        for index in 0..=text.len() {
            reached[index] = match part {
                '%' => before[..=index].contains(&true),
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
    let rows = match context.catalog.require(name)? {
        Relation::Table(table) => table.columns.iter().map(|column| column_row(table, column)).collect(),
        Relation::View(view) => {
            let schema = query_schema(context, &view.query)?;
            let fields = schema.fields().iter().enumerate();
            let named = fields.map(|(index, field)| (view.columns.get(index).unwrap_or(field.name()).clone(), field));
            named
                .map(|(name, field)| plain_row(name, flink_name(field.data_type(), true), field.is_nullable()))
                .collect()
        }
        relation @ (Relation::Late(_) | Relation::Errors(_)) => {
            let schema = relation.schema().unwrap_or_else(|| std::sync::Arc::new(arrow::datatypes::Schema::empty()));
            let fields = schema.fields().iter();
            fields.map(|f| plain_row(f.name().clone(), flink_name(f.data_type(), true), f.is_nullable())).collect()
        }
    };
    let mut rows: Vec<Vec<String>> = rows;
    rows.retain(|row| like.is_none_or(|like| matches_like(&row[0], &like.value)));
    Ok(Outcome::Rows(Rows { columns: vec!["name", "type", "null", "key", "extras", "watermark"], rows }))
}

fn plain_row(name: String, data_type: String, nullable: bool) -> Vec<String> {
    vec![name, data_type, nullable.to_string().to_uppercase(), String::new(), String::new(), String::new()]
}

fn column_row(table: &TableDefinition, column: &Column) -> Vec<String> {
    let watermark = table.watermark.as_ref().filter(|watermark| watermark.column == column.name);
    let rowtime = if watermark.is_some() { " *ROWTIME*" } else { "" };
    let key = if table.primary_key.contains(&column.name) {
        format!("PRI({})", table.primary_key.join(", "))
    } else {
        String::new()
    };
    let type_name = flink_name(&column.data_type, true);
    let declared = if matches!(column.kind, ColumnKind::Computed(_)) { type_name } else { column.sql_type.to_string() };
    let declared = declared.strip_suffix(" NOT NULL").map_or(declared.clone(), str::to_string);
    vec![
        column.name.clone(),
        format!("{declared}{rowtime}"),
        column.nullable.to_string().to_uppercase(),
        key,
        extras(&column.kind),
        watermark.map_or_else(String::new, |watermark| watermark.expression.to_string()),
    ]
}

fn extras(kind: &ColumnKind) -> String {
    match kind {
        ColumnKind::Physical => String::new(),
        ColumnKind::Computed(expression) => format!("AS {expression}"),
        ColumnKind::Metadata { key, virtual_ } => {
            format!("METADATA FROM {}{}", quote_string(key), if *virtual_ { " VIRTUAL" } else { "" })
        }
    }
}

/// The statement that declares the table anew.
pub(crate) fn create_table(table: &TableDefinition) -> String {
    let temporary = if table.temporary { "TEMPORARY " } else { "" };
    let mut out = format!("CREATE {temporary}TABLE {} (\n", quote_identifier(&table.name));
    let mut parts: Vec<String> = table.columns.iter().map(column_clause).collect();
    if let Some(watermark) = &table.watermark {
        parts.push(format!("WATERMARK FOR {} AS {}", quote_identifier(&watermark.column), watermark.expression));
    }
    if !table.primary_key.is_empty() {
        parts.push(format!("PRIMARY KEY ({}) NOT ENFORCED", identifiers(&table.primary_key)));
    }
    out.push_str(&parts.iter().map(|part| format!("  {part}")).collect::<Vec<_>>().join(",\n"));
    out.push_str("\n)");
    if let Some(comment) = &table.comment {
        let _ = write!(out, " COMMENT {}", quote_string(comment));
    }
    if !table.partitioned_by.is_empty() {
        let _ = write!(out, "\nPARTITIONED BY ({})", identifiers(&table.partitioned_by));
    }
    let options: Vec<String> =
        table.options.iter().map(|(key, value)| format!("  {} = {}", quote_string(key), quote_string(value))).collect();
    let _ = write!(out, "\nWITH (\n{}\n)", options.join(",\n"));
    out
}

fn identifiers(names: &[String]) -> String {
    names.iter().map(|name| quote_identifier(name)).collect::<Vec<_>>().join(", ")
}

fn column_clause(column: &Column) -> String {
    let name = quote_identifier(&column.name);
    let clause = match &column.kind {
        ColumnKind::Physical => format!("{name} {}", column.sql_type),
        ColumnKind::Computed(_) => format!("{name} {}", extras(&column.kind)),
        ColumnKind::Metadata { .. } => format!("{name} {} {}", column.sql_type, extras(&column.kind)),
    };
    match &column.comment {
        Some(comment) => format!("{clause} COMMENT {}", quote_string(comment)),
        None => clause,
    }
}

/// What was set.
pub(crate) fn settings(settings: &Settings) -> Outcome {
    let rows = settings.set_values().map(|(key, value)| vec![key.to_string(), value.to_string()]);
    Outcome::Rows(Rows { columns: vec!["key", "value"], rows: rows.collect() })
}
