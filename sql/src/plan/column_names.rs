//! A SELECT may list a column twice: from the second time on it is called price0, price1, as in Flink. The parser has
//! already named what is no plain column.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion_common::Result;
use datafusion_expr::{LogicalPlan, LogicalPlanBuilder, col};
use sqlparser::ast::{Expr, Ident, Query, Select, SelectItem, VisitMut, VisitorMut};

/// Names the columns of every SELECT in the query.
pub(crate) fn apply(query: &mut Query) {
    let _: ControlFlow<std::convert::Infallible> = VisitMut::visit(query, &mut Names);
}

struct Names;

impl VisitorMut for Names {
    type Break = std::convert::Infallible;

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        let mut taken: HashSet<String> = select.projection.iter().filter_map(written_alias).collect();
        for (position, item) in select.projection.iter_mut().enumerate() {
            let SelectItem::UnnamedExpr(expr) = item else { continue };
            let own = natural_name(expr);
            let name = free_name(own.clone().unwrap_or_else(|| format!("EXPR${position}")), &taken);
            taken.insert(name.clone());
            let plain = matches!(expr, Expr::Identifier(_)) && own.as_ref() == Some(&name);
            if !plain {
                let expr = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
                *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('`', name) };
            }
        }
        ControlFlow::Continue(())
    }
}

/// `SELECT *` over a join may give a name twice: the query's own columns are numbered likewise.
pub(crate) fn number_repeated(plan: LogicalPlan) -> Result<LogicalPlan> {
    let fields = plan.schema().fields();
    let mut free: HashSet<String> = fields.iter().map(|field| field.name().clone()).collect();
    if free.len() == fields.len() {
        return Ok(plan);
    }
    let mut seen = HashSet::new();
    let columns = plan.schema().columns().into_iter().map(|column| {
        let name = column.name.clone();
        if seen.insert(name.clone()) {
            return col(column);
        }
        let numbered = free_name(name, &free);
        free.insert(numbered.clone());
        col(column).alias(numbered)
    });
    let columns: Vec<_> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

fn written_alias(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        _ => None,
    }
}

fn natural_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(ident.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()),
        Expr::Nested(inner) => natural_name(inner),
        _ => None,
    }
}

/// The name itself, or with the first number that makes it new.
fn free_name(name: String, taken: &HashSet<String>) -> String {
    if !taken.contains(&name) {
        return name;
    }
    let mut numbered = (0usize..).map(|number| format!("{name}{number}"));
    numbered.find(|candidate| !taken.contains(candidate)).unwrap_or(name)
}
