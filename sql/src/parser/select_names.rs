//! Names for the columns of a SELECT that gives them none, as Flink names them: the last field of `bid.price` where
//! `bid` is a ROW, `EXPR$2` for the third column where it is any other expression.
//!
//! DataFusion would name them after their text, and refuse two columns of one text.

use std::collections::HashSet;

use sqlparser::ast::{
    AccessExpr, Expr, Ident, Select, SelectItem, Spanned, TableAlias, TableFactor, TableWithJoins, Value, ValueWithSpan,
};
use sqlparser::tokenizer::Span;

use super::query_parts;

pub(super) fn name_columns(select: &mut Select) {
    let mut tables = HashSet::new();
    select.from.iter().for_each(|table| collect_tables(table, &mut tables));
    let mut taken: HashSet<String> = select.projection.iter().filter_map(|item| own_name(item, &tables)).collect();
    let mut seen = HashSet::new();
    for (position, item) in select.projection.iter_mut().enumerate() {
        if matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)) {
            // From here on the position in the result is not known.
            break;
        }
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let name = match field_name(expr, &tables) {
            Naming::Own => match own_column(expr) {
                Some(column) if !seen.insert(column.value.clone()) => {
                    query_parts::quoted(&free_name(&column.value, &taken), column.span)
                }
                _ => continue,
            },
            Naming::Field(field, span) => query_parts::quoted(&free_name(field, &taken), span),
            Naming::None => query_parts::quoted(&format!("EXPR${position}"), expr.span()),
        };
        taken.insert(name.value.clone());
        let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
        *item = SelectItem::ExprWithAlias { expr, alias: name };
    }
}

/// `name`, or `name0`, `name1`, ... where it is taken.
fn free_name(name: &str, taken: &HashSet<String>) -> String {
    let numbered = (0..taken.len()).map(|number| format!("{name}{number}"));
    std::iter::once(name.to_string())
        .chain(numbered)
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| name.to_string())
}

fn own_name(item: &SelectItem, tables: &HashSet<String>) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(parts)) => match field_name(expr, tables) {
            Naming::Own => parts.last().map(|part| part.value.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn own_column(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    }
}

enum Naming<'a> {
    /// A column keeps its name, unless an earlier one has it.
    Own,
    /// A field of a ROW gives its name.
    Field(&'a str, Span),
    None,
}

fn field_name<'a>(expr: &'a Expr, tables: &HashSet<String>) -> Naming<'a> {
    match expr {
        Expr::Identifier(_) => Naming::Own,
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, _] if tables.contains(&table.value) => Naming::Own,
            [.., field] => Naming::Field(&field.value, field.span),
            [] => Naming::None,
        },
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            // A field's name is a text by now, see `normalize.rs`.
            Some(AccessExpr::Dot(Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(field), span }))) => {
                Naming::Field(field, *span)
            }
            _ => Naming::None,
        },
        _ => Naming::None,
    }
}

/// The names by which columns can be qualified.
fn collect_tables(table: &TableWithJoins, names: &mut HashSet<String>) {
    for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
        let alias: Option<&TableAlias> = match factor {
            TableFactor::Table { name, alias: None, .. } => {
                names.extend(name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.clone()));
                None
            }
            TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.as_ref(),
            TableFactor::NestedJoin { table_with_joins, alias } => {
                collect_tables(table_with_joins, names);
                alias.as_ref()
            }
            _ => None,
        };
        names.extend(alias.map(|alias| alias.name.value.clone()));
    }
}
