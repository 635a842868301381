//! Which plans are versioned tables: tables with a primary key, and views that keep the last row of each key by time.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::{Column, ScalarValue};
use datafusion_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator, Projection, TableScan, Window, col, lit};
use tidemill_engine::operators::ordering::RankFunction;
use tidemill_engine::time::window::TimeDomain;

use super::context::{CatalogTable, TableStream};
use super::over_window;
use super::traits;

/// A plan whose rows are versions of their keys.
pub(crate) struct Versions {
    /// The plan without what only kept the last versions: every row is one.
    pub plan: LogicalPlan,
    /// Columns of its output; empty for a table without primary key.
    pub key: Vec<usize>,
    /// The column since whose time a version holds.
    pub time: Option<usize>,
    /// Rows replace each other because a query says so, not because the table has a key.
    pub keeps_last: bool,
}

impl Versions {
    /// `None` where the rows are no longer those of a table, or the key is not among the columns.
    pub fn of(plan: &LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::TableScan(scan) => Self::of_table(plan, scan),
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input)?.below(plan),
            LogicalPlan::Projection(projection) => Self::of(&projection.input)?.below_projection(plan, projection),
            LogicalPlan::Filter(filter) => Self::of_last_rows(filter),
            _ => None,
        }
    }

    fn of_table(plan: &LogicalPlan, scan: &TableScan) -> Option<Self> {
        let table = scan.source.downcast_ref::<CatalogTable>().filter(|table| table.stream == TableStream::Rows)?;
        let place = |name: &String| scan.projected_schema.fields().iter().position(|field| field.name() == name);
        let key = table.definition.primary_key.iter().map(place).collect::<Option<_>>()?;
        let watermark = table.definition.watermark.as_ref();
        Some(Self {
            plan: plan.clone(),
            key,
            time: watermark.and_then(|watermark| place(&watermark.column)),
            keeps_last: false,
        })
    }

    /// `WHERE n = 1`, where n is ROW_NUMBER() OVER (PARTITION BY key ORDER BY time DESC).
    fn of_last_rows(filter: &Filter) -> Option<Self> {
        Self::of_numbered(&filter.input, first_of(&filter.predicate)?)
    }

    /// The rows of a plan that numbers them in the column `number`; all of them have number 1 then.
    fn of_numbered(plan: &LogicalPlan, number: &Column) -> Option<Self> {
        let index = plan.schema().maybe_index_of_column(number)?;
        match plan {
            LogicalPlan::SubqueryAlias(alias) => {
                let inner = Column::from(alias.input.schema().qualified_field(index));
                Self::of_numbered(&alias.input, &inner)?.below(plan)
            }
            LogicalPlan::Projection(projection) => {
                let inner = projection.expr[index].clone().unalias_nested().data;
                Self::of_numbered(&projection.input, inner.try_as_col()?)?.below_projection(plan, projection)
            }
            LogicalPlan::Window(window) if index == window.input.schema().fields().len() => Self::of_window(window),
            _ => None,
        }
    }

    fn of_window(window: &Window) -> Option<Self> {
        let [expr] = window.window_expr.as_slice() else { return None };
        let call = over_window::call_of(expr)?;
        let [order] = call.params.order_by.as_slice() else { return None };
        if !matches!(over_window::rank_of(call), Some(RankFunction::RowNumber)) || order.asc {
            return None;
        }
        let schema = window.input.schema();
        let place = |expr: &Expr| schema.maybe_index_of_column(expr.try_as_col()?);
        let key = call.params.partition_by.iter().map(place).collect::<Option<Vec<_>>>()?;
        let time = place(&order.expr)?;
        let domain = traits::of_plan(&window.input)[time].time?;
        let number = window.schema.field(schema.fields().len());
        let one = ScalarValue::Int64(Some(1)).cast_to(number.data_type()).ok()?;
        let columns = schema.columns().into_iter().map(col).chain([lit(one).alias(number.name())]);
        let plan = Projection::try_new(columns.collect(), Arc::clone(&window.input)).ok()?;
        let time = (domain == TimeDomain::Event).then_some(time);
        (!key.is_empty()).then_some(Self { plan: LogicalPlan::Projection(plan), key, time, keeps_last: true })
    }

    /// Under a node that keeps the columns as they are.
    fn below(self, node: &LogicalPlan) -> Option<Self> {
        let plan = node.with_new_exprs(node.expressions(), vec![self.plan]).ok()?;
        Some(Self { plan, ..self })
    }

    fn below_projection(self, node: &LogicalPlan, projection: &Projection) -> Option<Self> {
        let schema = projection.input.schema();
        let place = |index: usize| {
            let wanted = Column::from(schema.qualified_field(index));
            let keeps = |expr: &Expr| expr.clone().unalias_nested().data.try_as_col() == Some(&wanted);
            projection.expr.iter().position(keeps)
        };
        let key = self.key.iter().map(|index| place(*index)).collect::<Option<_>>()?;
        let time = self.time.and_then(place);
        Self { key, time, ..self }.below(node)
    }
}

/// The column of a condition that it be 1.
fn first_of(predicate: &Expr) -> Option<&Column> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = predicate else { return None };
    let is_one = |expr: &Expr| match expr {
        Expr::Literal(value, _) => {
            value.cast_to(&DataType::Int64).is_ok_and(|value| value == ScalarValue::Int64(Some(1)))
        }
        _ => false,
    };
    match op {
        Operator::Eq | Operator::LtEq if is_one(right) => left.try_as_col(),
        Operator::Eq | Operator::GtEq if is_one(left) => right.try_as_col(),
        _ => None,
    }
}
