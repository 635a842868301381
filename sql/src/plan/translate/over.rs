//! OVER aggregation: functions of the rows around each row, in the order of time or of whole partitions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{NullTreatment, WindowFunction};
use datafusion_expr::{Expr, ExprSchemable, Window, WindowFunctionDefinition};
use tidemill_engine::aggregate::{self, AggregateCall, AggregateFactory};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::operator::OperatorFactory;
use tidemill_engine::operators::ordering::SortColumn;
use tidemill_engine::operators::over::whole::{Complete, WholeOver};
use tidemill_engine::operators::over::{Frame, FrameBound, FrameUnit, Over, OverFunction, ShareFunction};
use tidemill_engine::time::window::TimeDomain;

use super::aggregate::Prepared;
use super::over_frame::{RangeUnit, describe_frame, frame_of};
use super::ranked::describe_order;
use super::settle::{Details, by_key, names, operator_draft, reachable, typed_names};
use super::{Translator, late};
use crate::diagnostic::Diagnostic;
use crate::plan::aggregates::AggregateShell;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_ms;
use crate::plan::stream::Stream;
use crate::plan::window_functions::OverFunction as Named;

/// A function over rows whose columns stand ready.
#[derive(Clone)]
pub(super) struct OverCall {
    pub function: OverFunction,
    pub display: String,
    pub field: Field,
}

/// What OVER partitions and orders by: columns of the operator's input.
pub(super) struct OverKeys<'a> {
    pub partition_by: &'a [usize],
    pub order_by: &'a [SortColumn],
    pub given: Given,
}

/// When a row is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// When its time comes, and that of the rows behind it that it looks at.
    InOrder(TimeDomain),
    /// With all of its partition.
    Whole(Complete),
}

/// Puts the arguments of the calls of a window node behind the columns that are prepared already.
pub(super) fn bind(
    translator: &Translator<'_>,
    window: &Window,
    input: &Stream,
    prepared: &mut Prepared,
) -> Result<Vec<OverCall>> {
    let first = window.input.schema().fields().len();
    let calls = window.window_expr.iter().zip(&window.schema.fields()[first..]);
    let schema = window.input.schema();
    let mut binder = Binder { translator, input, schema, range_unit: range_unit(window)?, prepared };
    let bind_one = |(expr, field): (&Expr, &Arc<Field>)| {
        let Some(call) = crate::plan::over_window::call_of(expr) else {
            return Err(external(Diagnostic::new("a function is expected in front of OVER")));
        };
        let (function, display) = binder.bind(call)?;
        let field = Field::new(&display, field.data_type().clone(), field.is_nullable());
        Ok(OverCall { function, display, field })
    };
    calls.map(bind_one).collect()
}

/// What RANGE counts in, in the order of a window node.
fn range_unit(window: &Window) -> Result<RangeUnit> {
    let first = window.window_expr.iter().find_map(crate::plan::over_window::call_of);
    let Some(first) = first.and_then(|call| call.params.order_by.first()) else { return Ok(RangeUnit::Nothing) };
    Ok(match first.expr.get_type(window.input.schema())? {
        DataType::Timestamp(..) => RangeUnit::Milliseconds,
        other if other.is_signed_integer() => RangeUnit::Numbers,
        _ => RangeUnit::Nothing,
    })
}

struct Binder<'a, 'b> {
    translator: &'a Translator<'b>,
    input: &'a Stream,
    schema: &'a DFSchema,
    range_unit: RangeUnit,
    prepared: &'a mut Prepared,
}

impl Binder<'_, '_> {
    fn bind(&mut self, call: &WindowFunction) -> Result<(OverFunction, String)> {
        let name = call.fun.name().to_uppercase();
        match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => {
                let Some(shell) = AggregateShell::of(function) else {
                    return Err(refuse(format!("{name}() OVER cannot run over a stream"), "use another aggregate"));
                };
                let args = &call.params.args[..shell.column_count(call.params.args.len())];
                let is_star =
                    function.name() == "count" && matches!(args, [Expr::Literal(value, _)] if !value.is_null());
                let args = if is_star && !call.params.distinct { &[] } else { args };
                self.aggregate(call, &name, args, |types| shell.resolve(types))
            }
            WindowFunctionDefinition::WindowUDF(function) => match Named::of(function) {
                Some(Named::RowNumber | Named::Rank | Named::DenseRank) => {
                    let rank = Named::of(function).and_then(Named::rank);
                    let rank = rank.ok_or_else(|| refuse(format!("{name}() OVER has no meaning here"), ""))?;
                    Ok((OverFunction::Number(rank), format!("{name}()")))
                }
                Some(Named::FirstValue | Named::LastValue)
                    if call.params.null_treatment == Some(NullTreatment::RespectNulls) =>
                {
                    let number = if Named::of(function) == Some(Named::FirstValue) { 1 } else { -1 };
                    self.nth(call, &name, number)
                }
                Some(Named::FirstValue | Named::LastValue) => self.one_value(call, call.fun.name(), None),
                Some(Named::NthValue) => {
                    if call.params.null_treatment == Some(NullTreatment::IgnoreNulls) {
                        let hint = "leave the NULLs out in a subquery: WHERE ... IS NOT NULL";
                        return Err(refuse(format!("{name}() OVER cannot IGNORE NULLS"), hint));
                    }
                    let number = call.params.args.get(1).and_then(constant).filter(|number| *number > 0);
                    let number = number.ok_or_else(|| {
                        refuse(format!("{name}: which row must be a constant, 1 or more"), "write NTH_VALUE(x, 2)")
                    })?;
                    self.nth(call, &name, number)
                }
                Some(Named::Lag) => self.shift(call, &name, -1),
                Some(Named::Lead) => self.shift(call, &name, 1),
                Some(Named::PercentRank) => Ok((OverFunction::Share(ShareFunction::PercentRank), format!("{name}()"))),
                Some(Named::CumeDist) => Ok((OverFunction::Share(ShareFunction::CumeDist), format!("{name}()"))),
                Some(Named::Ntile) => {
                    let parts = call.params.args.first().and_then(constant).and_then(|parts| u64::try_from(parts).ok());
                    let parts = parts.filter(|parts| *parts > 0).ok_or_else(|| {
                        refuse(format!("{name}: how many parts must be a constant, 1 or more"), "write NTILE(4)")
                    })?;
                    Ok((OverFunction::Share(ShareFunction::Ntile(parts)), format!("{name}({parts})")))
                }
                None => Err(refuse(format!("{name}() OVER cannot run over a stream"), "use another function")),
            },
        }
    }

    /// FIRST_VALUE or LAST_VALUE, which leave NULLs out; over another frame than its own if one is given.
    fn one_value(
        &mut self,
        call: &WindowFunction,
        function: &str,
        frame: Option<Frame>,
    ) -> Result<(OverFunction, String)> {
        let name = function.to_uppercase();
        let resolve = |types: &[DataType]| aggregate::resolve(function, types, &[], false);
        let (bound, shown) = self.aggregate(call, &name, &call.params.args[..1], resolve)?;
        match (bound, frame) {
            (OverFunction::Aggregate(call, _), Some(frame)) => {
                let shown = format!("{} {}", call.display, describe_frame(frame, self.range_unit));
                Ok((OverFunction::Aggregate(call, frame), shown))
            }
            (bound, _) => Ok((bound, shown)),
        }
    }

    fn nth(&mut self, call: &WindowFunction, name: &str, number: i64) -> Result<(OverFunction, String)> {
        let frame = frame_of(&call.params.window_frame, self.range_unit, name)?;
        let (column, shown, _) = self.place(&call.params.args[0])?;
        let which = if call.params.args.len() > 1 { format!(", {number}") } else { String::new() };
        let shown = format!("{name}({shown}{which}) RESPECT NULLS {}", describe_frame(frame, self.range_unit));
        Ok((OverFunction::Nth { column, number, frame }, shown))
    }

    fn aggregate(
        &mut self,
        call: &WindowFunction,
        name: &str,
        args: &[Expr],
        resolve: impl Fn(&[DataType]) -> tidemill_engine::Result<Arc<dyn AggregateFactory>>,
    ) -> Result<(OverFunction, String)> {
        let frame = frame_of(&call.params.window_frame, self.range_unit, name)?;
        let mut shown = Vec::new();
        let mut places = Vec::new();
        let mut types = Vec::new();
        for arg in args {
            let (place, text, data_type) = self.place(arg)?;
            places.push(place);
            shown.push(text);
            types.push(data_type);
        }
        let factory = resolve(&types).map_err(|error| external(Diagnostic::new(error.to_string())))?;
        let filter = call.params.filter.as_deref().map(|filter| self.place(filter)).transpose()?;
        let constants = call.params.args.iter().skip(args.len()).filter(|_| !args.is_empty());
        shown.extend(constants.map(ToString::to_string));
        let distinct = if call.params.distinct { "DISTINCT " } else { "" };
        let shown = if shown.is_empty() { "*".to_owned() } else { shown.join(", ") };
        let condition = filter.as_ref().map_or(String::new(), |(_, text, _)| format!(" FILTER (WHERE {text})"));
        let display = format!("{name}({distinct}{shown}){condition}");
        let output = Field::new(&display, factory.output_type(), true);
        let filter = filter.map(|(place, ..)| place);
        let shown = format!("{display} {}", describe_frame(frame, self.range_unit));
        Ok((OverFunction::Aggregate(AggregateCall { display, output, factory, args: places, filter }, frame), shown))
    }

    /// LAG and LEAD: `direction` is -1 or 1.
    fn shift(&mut self, call: &WindowFunction, name: &str, direction: i64) -> Result<(OverFunction, String)> {
        let args = &call.params.args;
        let offset = match args.get(1) {
            None => 1,
            Some(offset) => constant(offset).filter(|offset| *offset >= 0).ok_or_else(|| {
                let message = format!("{name}: how many rows away must be a constant, 0 or more");
                refuse(message, "write LAG(x, 2) for an earlier row, LEAD(x, 2) for a later one")
            })?,
        };
        if call.params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            return self.nearest_value(call, name, (direction, offset));
        }
        let (column, mut shown, _) = self.place(&args[0])?;
        shown += &format!(", {offset}");
        let default = args.get(2).filter(|default| !is_null(default)).map(|default| self.place(default)).transpose()?;
        if let Some((_, text, _)) = &default {
            shown += &format!(", {text}");
        }
        let default = default.map(|(place, ..)| place);
        Ok((OverFunction::Shift { column, by: direction * offset, default }, format!("{name}({shown})")))
    }

    /// LAG and LEAD that leave NULLs out: the last value before the row, the first one behind it.
    fn nearest_value(
        &mut self,
        call: &WindowFunction,
        name: &str,
        (direction, offset): (i64, i64),
    ) -> Result<(OverFunction, String)> {
        if offset != 1 || call.params.args.len() > 2 {
            let hint =
                "IGNORE NULLS is there for the nearest value, without default: COALESCE(LAG(x) IGNORE NULLS OVER w, 0)";
            return Err(refuse(format!("{name}() OVER cannot IGNORE NULLS with this offset or default"), hint));
        }
        let next = FrameBound::Offset(direction);
        let (function, start, end) = match direction {
            -1 => ("last_value", FrameBound::Unbounded, next),
            _ => ("first_value", next, FrameBound::Unbounded),
        };
        self.one_value(call, function, Some(Frame { unit: FrameUnit::Rows, start, end }))
    }

    /// The column of an argument, its text and type.
    fn place(&mut self, expr: &Expr) -> Result<(usize, String, DataType)> {
        let over = self.translator.expr(expr, self.schema)?;
        let own = self.input.below(&over)?;
        let data_type = own.data_type(&self.input.extended_base())?;
        let text = display(&over);
        Ok((self.prepared.place(&own, &text, data_type.clone(), 0), text, data_type))
    }
}

pub(super) fn refuse(message: String, hint: &str) -> datafusion_common::DataFusionError {
    external(Diagnostic::new(message).with_hint(hint))
}

fn is_null(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(value, _) => value.is_null(),
        Expr::Cast(cast) => is_null(&cast.expr),
        _ => false,
    }
}

fn constant(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) => whole(value),
        Expr::Cast(cast) => constant(&cast.expr),
        Expr::Negative(inner) => constant(inner)?.checked_neg(),
        _ => None,
    }
}

pub(super) fn whole(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(number) => number,
        _ => None,
    }
}

/// Adds the operator behind an input that is a node's output as it is. Its output: the kept columns, then one per call.
pub(super) fn add(
    translator: &mut Translator<'_>,
    input: &Stream,
    keys: &OverKeys<'_>,
    calls: &[OverCall],
    kept: &[usize],
) -> Result<Stream> {
    let base = &input.base;
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    let is_kept = matches!(keys.given, Given::InOrder(_)) && !is_range_only(calls) && !keys.partition_by.is_empty();
    if is_kept {
        translator.note_unbounded_state("OverAggregate", "aggregates or rows of every partition", input.bounded)?;
    }
    let columns = kept.iter().map(|index| base.field(*index).clone());
    let schema: Arc<Schema> =
        Arc::new(Schema::new(columns.chain(calls.iter().map(|call| call.field.clone())).collect::<Vec<_>>()));
    let (exchange, parallelism) = by_key(keys.partition_by);
    let operator = operator(base, keys, calls, kept, ttl_ms, &schema);
    let details = details(base, keys, calls, ttl_ms);
    let mut draft = operator_draft("OverAggregate", operator, input, Arc::clone(&schema), details);
    draft.inputs[0].exchange = reachable(exchange, input.parallelism);
    draft.parallelism = parallelism;
    draft.state_signature = Some(signature(base, keys, calls, kept));
    let node = translator.graph.add(draft);
    if matches!(keys.given, Given::InOrder(TimeDomain::Event) | Given::Whole(Complete::WithWindow { .. })) {
        late::register(translator, input, node, parallelism);
    }
    let output = Stream::of(node, schema, parallelism, ChangelogMode::Append, input.bounded);
    Ok(Stream { steady: input.steady, ..output })
}

fn operator(
    base: &SchemaRef,
    keys: &OverKeys<'_>,
    calls: &[OverCall],
    kept: &[usize],
    ttl_ms: Option<i64>,
    schema: &SchemaRef,
) -> Arc<dyn OperatorFactory> {
    let functions = calls.iter().map(|call| call.function.clone()).collect();
    let (partition_by, order) = (keys.partition_by.to_vec(), keys.order_by.to_vec());
    let (kept, input, schema) = (kept.to_vec(), Arc::clone(base), Arc::clone(schema));
    match keys.given {
        Given::InOrder(domain) => {
            let is_event_time = domain == TimeDomain::Event;
            Arc::new(Over { keys: partition_by, order, is_event_time, functions, kept, ttl_ms, input, schema })
        }
        Given::Whole(complete) => {
            Arc::new(WholeOver { complete, keys: partition_by, order, functions, kept, input, schema })
        }
    }
}

/// A partition ends with the last row in range.
fn is_range_only(calls: &[OverCall]) -> bool {
    let is_range = |frame: Frame| frame.unit == FrameUnit::Range && !frame.starts_with_partition();
    calls.iter().all(|call| call.function.frame().is_some_and(is_range))
}

fn details(base: &Schema, keys: &OverKeys<'_>, calls: &[OverCall], ttl_ms: Option<i64>) -> Details {
    let mut details = Vec::new();
    if !keys.partition_by.is_empty() {
        details.push(detail("partition by", names(base, keys.partition_by)));
    }
    match keys.given {
        Given::InOrder(TimeDomain::Processing) => details.push(detail("order by", "processing time")),
        _ if keys.order_by.is_empty() => {}
        _ => details.push(detail("order by", describe_order(base, keys.order_by))),
    }
    let shown: Vec<&str> = calls.iter().map(|call| call.display.as_str()).collect();
    details.push(detail("functions", shown.join(", ")));
    details.push(detail("state", state_note(keys, calls, ttl_ms)));
    details
}

fn state_note(keys: &OverKeys<'_>, calls: &[OverCall], ttl_ms: Option<i64>) -> String {
    let domain = match keys.given {
        Given::InOrder(domain) => domain,
        Given::Whole(Complete::WithWindow { .. }) => return "all rows of a window until it closes".into(),
        Given::Whole(Complete::AtEnd) => return "all rows until the input ends".into(),
    };
    let range_only = is_range_only(calls);
    let waiting = if domain == TimeDomain::Event { "rows until the watermark passes them; " } else { "" };
    let kept = if range_only { "rows in range" } else { "aggregates and rows in frames" };
    match (range_only, keys.partition_by.is_empty(), ttl_ms) {
        (true, ..) => format!("{waiting}{kept}, freed as time passes"),
        (false, _, Some(ttl)) => {
            format!("{waiting}{kept}; a partition is forgotten {} after its last row", describe_ms(ttl))
        }
        (false, true, None) => format!("{waiting}{kept}"),
        (false, false, None) => {
            format!("{waiting}{kept} of each partition: set table.exec.state.ttl to bound it")
        }
    }
}

fn signature(base: &Schema, keys: &OverKeys<'_>, calls: &[OverCall], kept: &[usize]) -> String {
    let sorted: Vec<usize> = keys.order_by.iter().map(|sort| sort.column).collect();
    let read: Vec<usize> = calls.iter().flat_map(|call| call.function.columns()).collect();
    let given = match keys.given {
        Given::InOrder(domain) => format!("{domain:?}"),
        Given::Whole(Complete::WithWindow { end, .. }) => format!("of windows by {}", base.field(end).name()),
        Given::Whole(Complete::AtEnd) => "of all".into(),
    };
    let shown: Vec<&str> = calls.iter().map(|call| call.display.as_str()).collect();
    format!(
        "keys [{}]; order {given} {} [{}]; {} over [{}]; rows of {}",
        typed_names(base, keys.partition_by),
        describe_order(base, keys.order_by),
        typed_names(base, &sorted),
        shown.join(", "),
        typed_names(base, &read),
        typed_names(base, kept),
    )
}
