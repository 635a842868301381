//! Values of unlike types that are compared, put into one column or taken for conditions: decided before types are coerced,
//! and as Flink does.
//!
//! A text is never read as a number, nor a number as a time: it would fail for the first row that holds something else. A text
//! is read as a time where it is compared with one, but not where rows of two inputs meet by it.

use std::collections::BTreeSet;

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion, TreeNodeVisitor};
use datafusion_common::{Column, DFSchema, JoinType, NullEquality, Result, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, InSubquery, SetComparison};
use datafusion_expr::utils::merge_schema;
use datafusion_expr::{BinaryExpr, Distinct, Expr, ExprSchemable, LogicalPlan, Operator, Subquery, Union};
use sqlparser::tokenizer::{Location, Span};

use super::context::external;
use super::subqueries::has_subquery;
use crate::diagnostic::Diagnostic;
use crate::types::flink_name;

/// Functions that give one of their arguments.
const CHOICES: [&str; 5] = ["coalesce", "ifnull", "nullif", "greatest", "least"];

/// Refuses a query that compares or mixes what Flink does not. To be called with the plan as it was written.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.visit_with_subqueries(&mut Nodes).map(|_| ())
}

/// Inputs come first: what is wrong there is found where it is written, and not in what is made of it above.
struct Nodes;

impl<'n> TreeNodeVisitor<'n> for Nodes {
    type Node = LogicalPlan;

    fn f_up(&mut self, node: &'n LogicalPlan) -> Result<TreeNodeRecursion> {
        check_node(node).map_err(external)?;
        Ok(TreeNodeRecursion::Continue)
    }
}

fn check_node(node: &LogicalPlan) -> std::result::Result<(), Diagnostic> {
    match node {
        LogicalPlan::Union(union) => return check_union(union),
        // So the planner writes INTERSECT and EXCEPT.
        LogicalPlan::Join(join) if join.null_equality == NullEquality::NullEqualsNull => {
            let left = match join.left.as_ref() {
                LogicalPlan::Distinct(Distinct::All(input)) => input,
                _ => &join.left,
            };
            let clause = if join.join_type == JoinType::LeftAnti { "EXCEPT" } else { "INTERSECT" };
            return check_columns(left, &join.right, clause);
        }
        LogicalPlan::Join(join) => {
            let of = |expr, side: &LogicalPlan| Operand::of(expr, side.schema());
            let mut keys = join.on.iter();
            keys.try_for_each(|(left, right)| {
                check_compared(&of(left, &join.left), Operator::Eq, &of(right, &join.right))
            })?;
        }
        _ => {}
    }
    let schema = merge_schema(&node.inputs());
    node.expressions().iter().try_for_each(|expr| {
        let mut found = Ok(());
        let visited = expr.apply(|part| {
            found = check_expr(part, &schema);
            Ok(if found.is_err() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        });
        visited.map_err(|error| Diagnostic::new(super::errors::plain_message(&error)))?;
        found
    })
}

fn check_expr(expr: &Expr, schema: &DFSchema) -> std::result::Result<(), Diagnostic> {
    let of = |expr| Operand::of(expr, schema);
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if compares(*op) => check_compared(&of(left), *op, &of(right)),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            [left, right].into_iter().try_for_each(|side| check_condition(&of(side)))
        }
        Expr::Not(condition) => check_condition(&of(condition)),
        Expr::Case(Case { expr: None, when_then_expr, .. }) => {
            when_then_expr.iter().try_for_each(|(when, _)| check_condition(&of(when)))
        }
        Expr::AggregateFunction(call) => call.params.filter.iter().try_for_each(|filter| check_condition(&of(filter))),
        Expr::ScalarFunction(call) if call.name() == "if" => {
            call.args.first().map_or(Ok(()), |arg| check_condition(&of(arg)))
        }
        Expr::InList(InList { expr, list, .. }) => list.iter().map(of).try_for_each(|value| {
            ensure(of(expr).fits(&value, false), || {
                let message =
                    format!("{} cannot be compared with {}, the values of IN", of(expr).words(), value.words());
                refused(message, "CAST them to one type", &[of(expr), value.clone()])
            })
        }),
        Expr::Between(Between { expr, low, high, .. }) => [low, high].into_iter().try_for_each(|bound| {
            let (expr, bound) = (of(expr), of(bound));
            ensure(expr.fits(&bound, false), || {
                let message = format!("{} and {} cannot be compared in BETWEEN", expr.words(), bound.words());
                refused(message, "CAST one of them", &[expr.clone(), bound.clone()])
            })
        }),
        Expr::Case(Case { expr: Some(expr), when_then_expr, .. }) => {
            when_then_expr.iter().try_for_each(|(when, _)| check_compared(&of(expr), Operator::Eq, &of(when)))
        }
        Expr::InSubquery(InSubquery { expr, subquery, .. }) => check_subquery(&of(expr), subquery),
        Expr::SetComparison(SetComparison { expr, subquery, .. }) => check_subquery(&of(expr), subquery),
        Expr::ScalarFunction(call) if CHOICES.contains(&call.name()) => {
            let values: Vec<Operand<'_>> = call.args.iter().map(of).collect();
            let unlike = values.iter().skip(1).find(|value| !values[0].fits(value, false));
            unlike.map_or(Ok(()), |unlike| {
                let types = format!("{} and {}", values[0].words(), unlike.words());
                let message = format!("{}: {types} have no common type", call.name().to_uppercase());
                Err(refused(message, "CAST them to one type", &values))
            })
        }
        _ => Ok(()),
    }
}

fn check_condition(condition: &Operand<'_>) -> std::result::Result<(), Diagnostic> {
    if condition.kind().mixes_with(Kind::Boolean) {
        return Ok(());
    }
    let message = format!("a condition must be BOOLEAN, but this one is {}", condition.words());
    Err(refused(message, "compare it with a value", std::slice::from_ref(condition)))
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

fn check_compared(left: &Operand<'_>, op: Operator, right: &Operand<'_>) -> std::result::Result<(), Diagnostic> {
    let meets = matches!(op, Operator::Eq | Operator::IsNotDistinctFrom) && left.is_of_another_input(right);
    ensure(left.fits(right, meets), || {
        let message = format!("{} {op} {}: these types cannot be compared", left.words(), right.words());
        refused(message, "CAST one side", &[left.clone(), right.clone()])
    })
}

/// IN, ANY and ALL: the value is compared with the subquery's column.
fn check_subquery(value: &Operand<'_>, subquery: &Subquery) -> std::result::Result<(), Diagnostic> {
    let Some(field) = subquery.subquery.schema().fields().first() else { return Ok(()) };
    let listed = Operand { expr: value.expr, data_type: Some(field.data_type().clone()) };
    ensure(value.fits(&listed, true), || {
        let message =
            format!("{} cannot be compared with {}, the values of the subquery", value.words(), listed.words());
        let hint = format!("CAST one of them: CAST(... AS {})", listed.words());
        refused(message, hint, std::slice::from_ref(value))
    })
}

fn check_union(union: &Union) -> std::result::Result<(), Diagnostic> {
    let Some((first, rest)) = union.inputs.split_first() else { return Ok(()) };
    for input in rest {
        check_columns(first, input, "UNION")?;
    }
    Ok(())
}

/// Two queries whose rows go together.
fn check_columns(first: &LogicalPlan, other: &LogicalPlan, clause: &str) -> std::result::Result<(), Diagnostic> {
    let pairs = first.schema().fields().iter().zip(other.schema().fields());
    for (index, (one, field)) in pairs.enumerate() {
        if !Kind::of(one.data_type()).mixes_with(Kind::of(field.data_type())) {
            let (expected, found) = (flink_name(one.data_type(), true), flink_name(field.data_type(), true));
            let message =
                format!("column `{}` of this {clause} is {found}, but {expected} in the queries before", field.name());
            let written = match other {
                LogicalPlan::Projection(projection) => place(projection.expr[index].column_refs()),
                _ => Span::empty(),
            };
            return Err(Diagnostic::at(written, message).with_hint("CAST one of them"));
        }
    }
    Ok(())
}

fn ensure(holds: bool, refusal: impl FnOnce() -> Diagnostic) -> std::result::Result<(), Diagnostic> {
    if holds { Ok(()) } else { Err(refusal()) }
}

fn refused(message: String, hint: impl Into<String>, operands: &[Operand<'_>]) -> Diagnostic {
    Diagnostic::at(place(operands.iter().flat_map(Operand::columns)), message).with_hint(hint)
}

/// From the first column to the last one.
fn place<'a>(columns: impl IntoIterator<Item = &'a Column>) -> Span {
    let spans = columns.into_iter().filter_map(|column| column.spans.first());
    let Some(all) = datafusion_common::Span::union_iter(spans) else { return Span::empty() };
    let location = |at: datafusion_common::Location| Location::new(at.line, at.column);
    Span::new(location(all.start), location(all.end))
}

/// An expression and its type; none where it is not known yet, of which the planner says what is wrong.
#[derive(Clone)]
struct Operand<'a> {
    expr: &'a Expr,
    data_type: Option<DataType>,
}

impl<'a> Operand<'a> {
    fn of(expr: &'a Expr, schema: &DFSchema) -> Self {
        Self { expr, data_type: expr.get_type(schema).ok() }
    }

    fn kind(&self) -> Kind {
        self.data_type.as_ref().map_or(Kind::Other, Kind::of)
    }

    /// Its type; whole numbers in a query are INT where they fit, though they are planned as such only later.
    fn words(&self) -> String {
        match (self.expr, &self.data_type) {
            (Expr::Literal(ScalarValue::Int64(Some(number)), _), _) if i32::try_from(*number).is_ok() => "INT".into(),
            (_, data_type) => data_type.as_ref().map_or_else(String::new, |data_type| flink_name(data_type, true)),
        }
    }

    /// True where the two can be compared, or be values of one column. `meets`: rows of two inputs find each other by it.
    fn fits(&self, other: &Self, meets: bool) -> bool {
        let (one, two) = (self.kind(), other.kind());
        one.mixes_with(two)
            || self.reads_as(other)
            || other.reads_as(self)
            || (!meets && (one == Kind::Text && two.is_time() || one.is_time() && two == Kind::Text))
    }

    /// A text that is written in the query, and is a value of the other's type.
    fn reads_as(&self, other: &Self) -> bool {
        match (self.expr, &other.data_type) {
            (Expr::Literal(value @ ScalarValue::Utf8(Some(_)), _), Some(to)) if self.kind() == Kind::Text => {
                value.cast_to(to).is_ok_and(|read| !read.is_null())
            }
            _ => false,
        }
    }

    /// The values of a subquery, or columns of other relations.
    fn is_of_another_input(&self, other: &Self) -> bool {
        let relations = |operand: &Self| -> BTreeSet<String> {
            let columns = operand.columns().into_iter();
            columns.map(|column| column.relation.as_ref().map_or_else(String::new, ToString::to_string)).collect()
        };
        let (one, two) = (relations(self), relations(other));
        has_subquery(self.expr) || has_subquery(other.expr) || (!one.is_empty() && !two.is_empty() && one != two)
    }

    /// The columns that it reads, those of rows around a subquery as well.
    fn columns(&self) -> Vec<&Column> {
        let mut columns = Vec::new();
        let visited = self.expr.apply(|part| {
            if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = part {
                columns.push(column);
            }
            Ok(TreeNodeRecursion::Continue)
        });
        if visited.is_ok() { columns } else { Vec::new() }
    }
}

/// Types that are compared with each other as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Text,
    Boolean,
    /// A day, or a moment.
    Time,
    TimeOfDay,
    Bytes,
    /// NULL, nested types and intervals: the planner knows.
    Other,
}

impl Kind {
    fn of(data_type: &DataType) -> Self {
        use DataType as T;
        match data_type {
            number if number.is_numeric() => Self::Number,
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Self::Text,
            T::Boolean => Self::Boolean,
            T::Date32 | T::Date64 | T::Timestamp(..) => Self::Time,
            T::Time32(_) | T::Time64(_) => Self::TimeOfDay,
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => Self::Bytes,
            _ => Self::Other,
        }
    }

    /// They go into one column.
    fn mixes_with(self, other: Self) -> bool {
        self == other || self == Self::Other || other == Self::Other
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Time | Self::TimeOfDay)
    }
}
