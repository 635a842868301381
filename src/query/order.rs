//! In which order a table of a query's rows is shown: that of its ORDER BY, as far as the rows themselves tell it.

use arrow::compute::SortOptions;
use arrow::datatypes::Schema;
use tidemill_sql::parser::ast::{Expr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, ValueWithSpan};

/// A column of the result that its rows are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SortedBy {
    pub column: usize,
    pub options: SortOptions,
}

/// The columns to sort by; ends before the first part of ORDER BY that no column of the result holds.
pub fn display_order(query: &Query, schema: &Schema) -> Vec<SortedBy> {
    let Some(OrderByKind::Expressions(parts)) = query.order_by.as_ref().map(|order| &order.kind) else {
        return Vec::new();
    };
    let column = |expr: &Expr| column_of(expr, query, schema);
    let sorted = parts.iter().map_while(|part| {
        let descending = part.options.asc == Some(false);
        // Flink takes NULL for the smallest value.
        let nulls_first = part.options.nulls_first.unwrap_or(!descending);
        Some(SortedBy { column: column(&part.expr)?, options: SortOptions { descending, nulls_first } })
    });
    sorted.collect()
}

/// A column by its name, its number, or what it is computed from.
fn column_of(expr: &Expr, query: &Query, schema: &Schema) -> Option<usize> {
    match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(number, _), .. }) => {
            let number: usize = number.to_string().parse().ok()?;
            number.checked_sub(1).filter(|index| *index < schema.fields().len())
        }
        Expr::Identifier(name) => schema.index_of(&name.value).ok().or_else(|| projected(expr, query)),
        Expr::CompoundIdentifier(path) => projected(expr, query).or_else(|| schema.index_of(&path.last()?.value).ok()),
        _ => projected(expr, query),
    }
}

/// The place of an expression in the SELECT list; none where a star makes places unknown.
fn projected(expr: &Expr, query: &Query) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let Select { projection, .. } = select.as_ref();
    let found = projection.iter().position(|item| match item {
        SelectItem::UnnamedExpr(inner) | SelectItem::ExprWithAlias { expr: inner, .. } => inner == expr,
        _ => false,
    })?;
    let star = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    (!projection[..found].iter().any(star)).then_some(found)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use tidemill_sql::parser::{StatementKind, parse_script};

    use super::*;

    fn order(sql: &str) -> Vec<(usize, bool, bool)> {
        let statements = parse_script(sql).expect("a query");
        let StatementKind::Query(query) = &statements[0].kind else { panic!("a query") };
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(vec![field("a"), field("n")]);
        let found = display_order(query, &schema);
        found.iter().map(|by| (by.column, by.options.descending, by.options.nulls_first)).collect()
    }

    #[test]
    fn an_order_is_followed_as_far_as_columns_hold_it() {
        assert_eq!(
            order("SELECT a, COUNT(*) AS n FROM t GROUP BY a ORDER BY n DESC, a"),
            [(1, true, false), (0, false, true)]
        );
        assert_eq!(order("SELECT a, COUNT(*) AS n FROM t GROUP BY a ORDER BY COUNT(*)"), [(1, false, true)]);
        assert_eq!(
            order("SELECT a, b AS n FROM t ORDER BY 2 DESC NULLS FIRST, t.a"),
            [(1, true, true), (0, false, true)]
        );
        assert_eq!(order("SELECT a, b AS n FROM t ORDER BY a, c, n"), [(0, false, true)]);
        assert!(order("SELECT a, b AS n FROM t ORDER BY 3").is_empty());
        assert!(order("SELECT a, b AS n FROM t").is_empty());
    }
}
