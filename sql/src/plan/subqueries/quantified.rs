//! `IN`, `ANY` and `ALL` over a subquery, said with EXISTS, in SQL's logic of three values.
//!
//! `x op ANY (s)` is TRUE if some s has it, else NULL if there is an s with which it is unknown, else FALSE. `IN` is `= ANY`, and
//! `x op ALL (s)` the opposite of the opposite `ANY`.

use std::sync::Arc;

use datafusion_common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion_common::{Column, DFSchema, ExprSchema, Result, ScalarValue, plan_err};
use datafusion_expr::expr::{Case, Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion_expr::{Cast, Expr, ExprSchemable, Filter, LogicalPlan, Operator, Subquery, binary_expr, col, lit};

/// `expr op ANY (subquery)`, or its opposite.
struct Comparison {
    expr: Expr,
    op: Operator,
    subquery: Subquery,
    negated: bool,
}

impl Comparison {
    fn of(expr: &Expr) -> Result<Option<Self>> {
        match expr {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => Ok(Some(Self {
                expr: expr.as_ref().clone(),
                op: Operator::Eq,
                subquery: subquery.clone(),
                negated: *negated,
            })),
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => {
                let negated = *quantifier == SetQuantifier::All;
                let Some(op) = (if negated { op.negate() } else { Some(*op) }) else {
                    return plan_err!("{op} cannot stand in front of ALL (SELECT ...)");
                };
                Ok(Some(Self { expr: expr.as_ref().clone(), op, subquery: subquery.clone(), negated }))
            }
            _ => Ok(None),
        }
    }

    /// The column of the subquery.
    fn listed(&self) -> (Expr, bool) {
        let field = self.subquery.subquery.schema().qualified_field(0);
        (col(Column::from(field)), field.1.is_nullable())
    }

    /// EXISTS over the rows that have it.
    fn holds(&self, schema: &DFSchema) -> Result<Exists> {
        rows_with(&self.subquery, binary_expr(outer(&self.expr, schema)?, self.op, self.listed().0))
    }

    /// EXISTS over the rows that are NULL; `None` where there can be none.
    fn has_null(&self) -> Result<Option<Exists>> {
        let (listed, nullable) = self.listed();
        nullable.then(|| rows_with(&self.subquery, listed.is_null())).transpose()
    }

    fn expr_is_nullable(&self, schema: &DFSchema) -> bool {
        self.expr.nullable(schema).unwrap_or(true)
    }
}

/// What must hold for a condition to be TRUE, in parts: each EXISTS among them becomes a join of its own.
pub(super) fn conditions(condition: Expr, schema: &DFSchema) -> Result<Vec<Expr>> {
    if let Expr::Not(inner) = condition {
        return Ok(match *inner {
            Expr::Not(same) => conditions(*same, schema)?,
            Expr::Exists(call) => conditions(Expr::Exists(Exists { negated: !call.negated, ..call }), schema)?,
            other => match (Comparison::of(&other)?, unknowns(&other)) {
                (Some(call), _) => parts(&Comparison { negated: !call.negated, ..call }, schema)?,
                (None, Some((holds, unknown))) => vec![not_exists(holds), not_exists(unknown)],
                (None, None) => vec![Expr::Not(Box::new(other))],
            },
        });
    }
    Ok(match (Comparison::of(&condition)?, unknowns(&condition)) {
        (Some(call), _) => parts(&call, schema)?,
        (None, Some((holds, _))) => vec![Expr::Exists(holds)],
        (None, None) => vec![condition],
    })
}

/// Semi and anti joins say it without trying every x with every s; those that NULLs cannot concern are left out.
fn parts(call: &Comparison, schema: &DFSchema) -> Result<Vec<Expr>> {
    let holds = call.holds(schema)?;
    if !call.negated {
        return Ok(vec![Expr::Exists(holds)]);
    }
    let mut parts = vec![not_exists(holds)];
    parts.extend(call.has_null()?.map(not_exists));
    if call.expr_is_nullable(schema) {
        let own_null = outer(&call.expr, schema)?.is_null();
        parts.push(not_exists(rows_with(&call.subquery, own_null)?));
    }
    Ok(parts)
}

/// The value of a comparison with a subquery.
pub(super) fn value(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Some(call) = Comparison::of(&expr)? else { return Ok(expr) };
    let holds = Expr::Exists(call.holds(schema)?);
    let has_null = call.has_null()?.map(Expr::Exists);
    let any_row = || Expr::Exists(Exists { subquery: call.subquery.clone(), negated: false });
    let own_null = call.expr_is_nullable(schema).then(|| call.expr.clone().is_null().and(any_row()));
    Ok(match has_null.into_iter().chain(own_null).reduce(Expr::or) {
        None if call.negated => !holds,
        None => holds,
        Some(unknown) => Expr::Case(Case::new(
            None,
            vec![
                (Box::new(holds), Box::new(lit(!call.negated))),
                (Box::new(unknown), Box::new(Expr::Literal(ScalarValue::Boolean(None), None))),
            ],
            Some(Box::new(lit(call.negated))),
        )),
    })
}

/// `CASE WHEN EXISTS (a) THEN TRUE WHEN EXISTS (b) THEN NULL ELSE FALSE END`, which the parser makes of `(x, y) IN (...)`.
fn unknowns(expr: &Expr) -> Option<(Exists, Exists)> {
    let Expr::Case(case) = expr else { return None };
    let [(holds, yes), (unknown, null)] = case.when_then_expr.as_slice() else { return None };
    let shape = case.expr.is_none() && is_boolean(yes, Some(true)) && is_boolean(null, None);
    let otherwise = case.else_expr.as_ref().is_some_and(|otherwise| is_boolean(otherwise, Some(false)));
    match (holds.as_ref(), unknown.as_ref()) {
        (Expr::Exists(holds), Expr::Exists(unknown)) if shape && otherwise && !holds.negated && !unknown.negated => {
            Some((holds.clone(), unknown.clone()))
        }
        _ => None,
    }
}

fn is_boolean(expr: &Expr, value: Option<bool>) -> bool {
    match expr {
        Expr::Cast(Cast { expr, .. }) => is_boolean(expr, value),
        Expr::Alias(alias) => is_boolean(&alias.expr, value),
        Expr::Literal(ScalarValue::Null, _) => value.is_none(),
        Expr::Literal(ScalarValue::Boolean(found), _) => *found == value,
        _ => false,
    }
}

fn not_exists(call: Exists) -> Expr {
    // Nothing is no row, so a condition that never holds drops out.
    if is_never(&call.subquery) { lit(true) } else { Expr::Exists(Exists { negated: !call.negated, ..call }) }
}

/// True for the rows where something is NULL that never is.
pub(super) fn is_never(subquery: &Subquery) -> bool {
    let mut plan = subquery.subquery.as_ref();
    while let LogicalPlan::Projection(projection) = plan {
        plan = &projection.input;
    }
    match plan {
        LogicalPlan::Filter(Filter { predicate: Expr::IsNull(value), input, .. }) => {
            !value.nullable(input.schema().as_ref()).unwrap_or(true)
        }
        _ => false,
    }
}

/// The expression as the subquery reads it.
fn outer(expr: &Expr, schema: &DFSchema) -> Result<Expr> {
    let read = expr.clone().transform(|part| match part {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(read.data)
}

/// EXISTS over the rows of a subquery for which this holds.
fn rows_with(subquery: &Subquery, condition: Expr) -> Result<Exists> {
    let mut outer_ref_columns = subquery.outer_ref_columns.clone();
    condition.apply(|part| {
        if matches!(part, Expr::OuterReferenceColumn(..)) {
            outer_ref_columns.push(part.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    let rows = LogicalPlan::Filter(Filter::try_new(condition, Arc::clone(&subquery.subquery))?);
    let subquery = Subquery { subquery: Arc::new(rows), outer_ref_columns, spans: subquery.spans.clone() };
    Ok(Exists { subquery, negated: false })
}
