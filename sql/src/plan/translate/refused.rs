//! What cannot run over a stream, said in the words of the query.
//!
//! Most of it is found in the query's own text, so that the place is exact; what slips through (a view's text, or
//! what planning makes of a query) is found in the plan.

use std::ops::ControlFlow;

use datafusion_common::Result;
use datafusion_expr::{Expr, LogicalPlan};
use sqlparser::ast::{
    Distinct, GroupByExpr, JoinOperator, Query, Select, SetExpr, SetOperator, SetQuantifier, Spanned, Visit, Visitor,
};
use sqlparser::tokenizer::Span;

use super::Translator;
use super::calc::any;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::stream::Stream;

/// Why a query cannot run over a stream, if its text shows it.
pub(crate) fn check_query(query: &Query) -> Result<(), Diagnostic> {
    let mut visitor = Refusals;
    match query.visit(&mut visitor) {
        ControlFlow::Break(diagnostic) => Err(*diagnostic),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Refusals;

impl Visitor for Refusals {
    type Break = Box<Diagnostic>;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        let found = check_clauses(query).or_else(|| check_body(&query.body));
        found.map_or(ControlFlow::Continue(()), |diagnostic| ControlFlow::Break(Box::new(diagnostic)))
    }
}

fn refuse(what: &str, hint: &str, span: Span) -> Diagnostic {
    Diagnostic::at(span, format!("{what} over a stream is not supported yet")).with_hint(hint)
}

const LATERAL_HINT: &str = "write it as a subquery of its own and join it by what it compares";
const SUBQUERY_HINT: &str = "subqueries can stand in WHERE, HAVING and SELECT; write others as a join";

fn check_clauses(query: &Query) -> Option<Diagnostic> {
    if let Some(with) = query.with.as_ref().filter(|with| with.recursive) {
        return Some(refuse("WITH RECURSIVE", "write the steps as separate queries", with.span()));
    }
    None
}

fn check_body(body: &SetExpr) -> Option<Diagnostic> {
    match body {
        SetExpr::Select(select) => check_select(select),
        SetExpr::SetOperation { op, set_quantifier, left, right } => {
            let by_name = matches!(
                set_quantifier,
                SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
            );
            if by_name || *op == SetOperator::Minus {
                let hint = "UNION, INTERSECT and EXCEPT are there, each with and without ALL";
                return Some(refuse(format!("{op} {set_quantifier}").trim(), hint, right.span()));
            }
            check_body(left).or_else(|| check_body(right))
        }
        _ => None,
    }
}

fn check_select(select: &Select) -> Option<Diagnostic> {
    if let Some(Distinct::On(_)) = &select.distinct {
        return Some(refuse(
            "DISTINCT ON",
            "number the rows: ROW_NUMBER() OVER (PARTITION BY ... ORDER BY ...) = 1 in QUALIFY",
            select.span(),
        ));
    }
    if let GroupByExpr::All(_) = &select.group_by {
        return Some(
            Diagnostic::at(select.span(), "GROUP BY ALL does not exist in Flink SQL").with_hint("list the columns"),
        );
    }
    let mut joins = select.from.iter().flat_map(|from| &from.joins);
    if let Some(join) = joins.find(|join| matches!(join.join_operator, JoinOperator::AsOf { .. })) {
        let hint = "write JOIN t FOR SYSTEM_TIME AS OF the time column of the left table";
        return Some(refuse("ASOF JOIN", hint, join.relation.span()));
    }
    None
}

/// The last of the translations: every node that none of the others took.
pub(super) fn translate(_translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let (what, hint) = match plan {
        LogicalPlan::Distinct(_) => ("DISTINCT ON", "SELECT DISTINCT is there"),
        LogicalPlan::Subquery(_) => ("a lateral subquery", LATERAL_HINT),
        LogicalPlan::RecursiveQuery(_) => ("WITH RECURSIVE", "write the steps as separate queries"),
        _ => ("this kind of query", "SELECT, WHERE, GROUP BY, UNION ALL, UNNEST and window functions are there"),
    };
    Some(Err(external(refuse(what, hint, Span::empty()))))
}

/// Expressions that have no meaning for one row.
pub(super) fn check_expr(expr: &Expr) -> Result<()> {
    let subquery = |part: &Expr| {
        matches!(part, Expr::InSubquery(_) | Expr::Exists(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))
    };
    if any(expr, subquery) {
        return Err(external(refuse("a subquery in an expression", SUBQUERY_HINT, Span::empty())));
    }
    if any(expr, |part| matches!(part, Expr::OuterReferenceColumn(..))) {
        return Err(external(refuse("a correlated subquery", SUBQUERY_HINT, Span::empty())));
    }
    let marker = |part: &Expr| matches!(part, Expr::ScalarFunction(call) if call.name().starts_with("__"));
    if any(expr, marker) {
        return Err(external(Diagnostic::new("a table function can only stand in FROM")));
    }
    Ok(())
}
