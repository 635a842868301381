//! GROUP BY and SELECT DISTINCT: which operator aggregates, and the columns that it is given.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::Result;
use datafusion_expr::expr::AggregateFunction;
use datafusion_expr::{Aggregate, Expr, LogicalPlan};
use tidemill_engine::aggregate::AggregateCall;

use super::calc::plain_schema;
use super::grouping_sets::Grouping;
use super::{Translator, group_by, refused, window_group};
use crate::diagnostic::Diagnostic;
use crate::plan::aggregates::AggregateShell;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::physical::Physical;
use crate::plan::stream::Stream;
use crate::plan::traits::{self, ColumnTraits};

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return None };
    Some(translator.translate(&aggregate.input).and_then(|input| {
        let bound = Bound::new(translator, aggregate, plan, &input)?;
        match traits::window_of(&bound.key_traits) {
            None => group_by::add(translator, input, bound),
            Some(_) => window_group::add(translator, input, bound),
        }
    }))
}

/// An aggregation with its expressions over the base of its input.
pub(super) struct Bound {
    pub grouping: Grouping,
    /// Keys in the order of the plan's output.
    pub keys: Vec<Key>,
    /// Of the keys as columns of the output: a window's columns only where its rows are final.
    pub key_traits: Vec<ColumnTraits>,
    /// Of the keys as columns of the input.
    pub key_columns: Vec<ColumnTraits>,
    pub calls: Vec<Call>,
    /// The last call counts rows and is no column of the plan's output.
    pub counts_rows: bool,
    /// Of the plan's output: keys, the grouping id if there is one, aggregates.
    pub schema: Arc<Schema>,
}

#[derive(Clone)]
pub(super) struct Key {
    pub expr: Physical,
    pub field: Field,
}

/// An aggregate call before its arguments are columns.
pub(super) struct Call {
    pub display: String,
    pub output: Field,
    pub factory: Arc<dyn tidemill_engine::aggregate::AggregateFactory>,
    pub distinct: bool,
    pub args: Vec<Physical>,
    pub filter: Option<Physical>,
}

impl Bound {
    fn new(translator: &Translator<'_>, aggregate: &Aggregate, plan: &LogicalPlan, input: &Stream) -> Result<Self> {
        let grouping = Grouping::of(&aggregate.group_expr)?;
        let schema = plain_schema(&aggregate.schema);
        let input_schema = aggregate.input.schema();
        let mut keys = Vec::new();
        for (expr, field) in grouping.keys.iter().zip(schema.fields()) {
            let expr = input.below(&translator.expr(expr, input_schema)?)?;
            keys.push(Key { expr, field: field.as_ref().clone() });
        }
        let first_call = keys.len() + usize::from(grouping.sets.is_some());
        let calls = aggregate.aggr_expr.iter().zip(&schema.fields()[first_call..]);
        let calls = calls.map(|(expr, field)| bind_call(translator, expr, field, aggregate, input));
        let key_traits = traits::of_plan(plan).into_iter().take(keys.len()).collect();
        let key_columns = traits::of_keys(aggregate);
        Ok(Self {
            keys,
            key_traits,
            key_columns,
            calls: calls.collect::<Result<_>>()?,
            counts_rows: false,
            schema,
            grouping,
        })
    }
}

fn bind_call(
    translator: &Translator<'_>,
    expr: &Expr,
    field: &Field,
    aggregate: &Aggregate,
    input: &Stream,
) -> Result<Call> {
    let call = call_of(expr)?;
    let Some(shell) = AggregateShell::of(&call.func) else {
        return Err(external(Diagnostic::new(format!("{} cannot run over a stream", call.func.name().to_uppercase()))));
    };
    let schema = aggregate.input.schema();
    let over_input = |expr: &Expr| translator.expr(expr, schema);
    let columns = &call.params.args[..shell.column_count(call.params.args.len())];
    let is_star = call.func.name() == "count" && matches!(columns, [Expr::Literal(value, _)] if !value.is_null());
    let columns = if is_star && !call.params.distinct { &[] } else { columns };
    let args = columns.iter().map(over_input).collect::<Result<Vec<_>>>()?;
    let types = args.iter().map(|arg| arg.data_type(&input.schema)).collect::<Result<Vec<_>>>()?;
    let resolved = if input.is_updated() { shell.resolve_over_updates(&types) } else { shell.resolve(&types) };
    let resolved = resolved.map_err(|error| external(Diagnostic::new(error.to_string())))?;
    let filter = call.params.filter.as_deref().map(over_input).transpose()?;
    let display = display_call(call, &args, filter.as_ref());
    let output = Field::new(&display, resolved.output_type(), field.is_nullable());
    Ok(Call {
        display,
        output,
        factory: resolved,
        distinct: call.params.distinct,
        args: args.iter().map(|arg| input.below(arg)).collect::<Result<_>>()?,
        filter: filter.map(|filter| input.below(&filter)).transpose()?,
    })
}

fn call_of(expr: &Expr) -> Result<&AggregateFunction> {
    refused::check_expr(expr)?;
    match expr {
        Expr::Alias(alias) => call_of(&alias.expr),
        Expr::AggregateFunction(call) => Ok(call),
        _ => Err(external(Diagnostic::new("an aggregate function is expected here"))),
    }
}

/// `SUM(DISTINCT price) FILTER (WHERE open)`.
fn display_call(call: &AggregateFunction, args: &[Physical], filter: Option<&Physical>) -> String {
    let name = call.func.name().to_uppercase();
    let distinct = if call.params.distinct { "DISTINCT " } else { "" };
    let constants = call.params.args.iter().skip(args.len()).map(|constant| match constant {
        Expr::Literal(value, _) => value.to_string(),
        other => other.to_string(),
    });
    let shown = args.iter().map(display);
    let shown: Vec<String> = if args.is_empty() { vec!["*".into()] } else { shown.chain(constants).collect() };
    let filter = filter.map_or(String::new(), |filter| format!(" FILTER (WHERE {})", display(filter)));
    format!("{name}({distinct}{}){filter}", shown.join(", "))
}

/// The columns that an aggregating operator is given.
#[derive(Default)]
pub(super) struct Prepared {
    pub columns: Vec<Physical>,
    pub fields: Vec<Field>,
}

impl Prepared {
    /// The place of a column with this expression; one that is there already, from `first` on, is used again.
    pub fn place(&mut self, expr: &Physical, name: &str, data_type: DataType, first: usize) -> usize {
        let known = self.columns.iter().skip(first).position(|column| column == expr);
        known.map(|place| place + first).unwrap_or_else(|| {
            self.columns.push(Arc::clone(expr));
            self.fields.push(Field::new(name, data_type, true));
            self.columns.len() - 1
        })
    }

    pub fn schema(&self) -> Arc<Schema> {
        Arc::new(Schema::new(self.fields.clone()))
    }

    /// Places the arguments and filters of the calls. `first`: columns before it are not shared with keys.
    pub fn calls(&mut self, calls: &[Call], base: &Schema, first: usize) -> Result<Vec<AggregateCall>> {
        let mut placed = Vec::new();
        for call in calls {
            let mut args = Vec::new();
            for arg in &call.args {
                args.push(self.place(arg, &display(arg), arg.data_type(base)?, first));
            }
            let filter =
                call.filter.as_ref().map(|filter| self.place(filter, &display(filter), DataType::Boolean, first));
            placed.push(AggregateCall {
                display: call.display.clone(),
                output: call.output.clone(),
                factory: Arc::clone(&call.factory),
                args,
                filter,
            });
        }
        Ok(placed)
    }
}

/// Number of the form in which aggregates are written to state; counts up with every change, so that an older one is
/// refused. 2: DISTINCT, MIN, MAX and collected values of large groups in entries of their own.
const STATE_LAYOUT: u32 = 2;

/// What EXPLAIN and the state's signature say about calls.
pub(super) fn display_calls(calls: &[AggregateCall]) -> String {
    calls.iter().map(|call| call.display.as_str()).collect::<Vec<_>>().join(", ")
}

/// The calls with the types of their arguments: what a restored state must agree with.
pub(super) fn calls_signature(calls: &[AggregateCall], input: &Schema) -> String {
    let signed = calls.iter().map(|call| {
        let types = call.args.iter().map(|arg| input.field(*arg).data_type().to_string());
        format!("{} over [{}]", call.display, types.collect::<Vec<_>>().join(", "))
    });
    let signed: Vec<String> = signed.collect();
    format!("{}; layout {STATE_LAYOUT}", signed.join("; "))
}
