//! OVER aggregation: functions of the rows before, in the order of time.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{NullTreatment, WindowFunction};
use datafusion_expr::{Expr, Window, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition};
use tidemill_engine::aggregate::{self, AggregateCall, AggregateFactory};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::operators::ordering::SortColumn;
use tidemill_engine::operators::over::{Frame, Over, OverFunction};
use tidemill_engine::time::window::TimeDomain;

use super::aggregate::Prepared;
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
    pub domain: TimeDomain,
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
    let mut binder = Binder { translator, input, schema: window.input.schema(), prepared };
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

struct Binder<'a, 'b> {
    translator: &'a Translator<'b>,
    input: &'a Stream,
    schema: &'a DFSchema,
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
                Some(Named::FirstValue | Named::LastValue) => {
                    if call.params.null_treatment == Some(NullTreatment::RespectNulls) {
                        let hint = "it leaves NULLs out, as in Flink";
                        return Err(refuse(format!("{name}() OVER cannot RESPECT NULLS"), hint));
                    }
                    let resolved = call.fun.name().to_owned();
                    self.aggregate(call, &name, &call.params.args, |types| {
                        aggregate::resolve(&resolved, types, &[], false)
                    })
                }
                Some(Named::Lag) => self.lag(call, &name),
                Some(Named::Lead) => {
                    let hint = "give the later row the value of the earlier one: LAG(...)";
                    Err(refuse(format!("{name}() OVER would wait for rows to come"), hint))
                }
                _ => {
                    let hint =
                        "there are ROW_NUMBER, RANK, DENSE_RANK, LAG, FIRST_VALUE, LAST_VALUE and all aggregates";
                    Err(refuse(format!("{name}() OVER needs all rows of a partition at once"), hint))
                }
            },
        }
    }

    fn aggregate(
        &mut self,
        call: &WindowFunction,
        name: &str,
        args: &[Expr],
        resolve: impl Fn(&[DataType]) -> tidemill_engine::Result<Arc<dyn AggregateFactory>>,
    ) -> Result<(OverFunction, String)> {
        let frame = frame_of(&call.params.window_frame, name)?;
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
        let shown = format!("{display} {}", describe_frame(frame));
        Ok((OverFunction::Aggregate(AggregateCall { display, output, factory, args: places, filter }, frame), shown))
    }

    fn lag(&mut self, call: &WindowFunction, name: &str) -> Result<(OverFunction, String)> {
        if call.params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            let hint = "leave the NULLs out in a subquery";
            return Err(refuse(format!("{name}() OVER cannot IGNORE NULLS"), hint));
        }
        let args = &call.params.args;
        let offset = match args.get(1) {
            None => 1,
            Some(offset) => constant(offset).filter(|offset| *offset >= 0).ok_or_else(|| {
                refuse(format!("{name}: how many rows back must be a constant, 0 or more"), "write LAG(x, 2)")
            })?,
        };
        let (column, mut shown, _) = self.place(&args[0])?;
        shown += &format!(", {offset}");
        let default = args.get(2).filter(|default| !is_null(default)).map(|default| self.place(default)).transpose()?;
        if let Some((_, text, _)) = &default {
            shown += &format!(", {text}");
        }
        let default = default.map(|(place, ..)| place);
        Ok((OverFunction::Lag { column, offset: offset as u64, default }, format!("{name}({shown})")))
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

fn refuse(message: String, hint: &str) -> datafusion_common::DataFusionError {
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

fn whole(value: &ScalarValue) -> Option<i64> {
    match value.cast_to(&DataType::Int64).ok()? {
        ScalarValue::Int64(number) => number,
        _ => None,
    }
}

fn frame_of(frame: &WindowFrame, name: &str) -> Result<Frame> {
    let following = || {
        let hint = "let frames end at the row itself: BETWEEN ... PRECEDING AND CURRENT ROW";
        refuse(format!("{name}() OVER: a frame that goes on behind the row would wait for rows to come"), hint)
    };
    let behind = match &frame.end_bound {
        WindowFrameBound::CurrentRow => 0,
        WindowFrameBound::Following(value) if whole(value) == Some(0) => 0,
        WindowFrameBound::Following(_) => return Err(following()),
        WindowFrameBound::Preceding(value) if frame.units == WindowFrameUnits::Rows => {
            whole(value).and_then(|rows| u64::try_from(rows).ok()).unwrap_or(u64::MAX)
        }
        WindowFrameBound::Preceding(_) => {
            let hint = "a RANGE ends at the row itself; ROWS may end before it";
            return Err(refuse(format!("{name}() OVER: this RANGE ends before the row"), hint));
        }
    };
    match (frame.units, &frame.start_bound) {
        (_, WindowFrameBound::Following(_)) => Err(following()),
        (WindowFrameUnits::Groups, _) => {
            Err(refuse(format!("{name}() OVER: frames of GROUPS do not exist in Flink SQL"), "use ROWS or RANGE"))
        }
        (_, WindowFrameBound::Preceding(value)) if value.is_null() && behind > 0 => {
            let hint = "end it at CURRENT ROW, or start it a number of rows before";
            Err(refuse(format!("{name}() OVER: a frame of all rows must go up to the row itself"), hint))
        }
        (units, WindowFrameBound::Preceding(value)) if value.is_null() => {
            Ok(Frame::Unbounded { peers: units == WindowFrameUnits::Range })
        }
        (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow) => Ok(Frame::Rows { from: 0, to: behind }),
        (WindowFrameUnits::Rows, WindowFrameBound::Preceding(value)) => {
            let from = whole(value).and_then(|rows| u64::try_from(rows).ok());
            let from =
                from.ok_or_else(|| refuse(format!("{name}() OVER: ROWS takes a number of rows"), "ROWS 10 PRECEDING"))?;
            Ok(Frame::Rows { from, to: behind })
        }
        (WindowFrameUnits::Range, WindowFrameBound::CurrentRow) => Ok(Frame::Range { preceding_ms: 0 }),
        (WindowFrameUnits::Range, WindowFrameBound::Preceding(value)) => {
            let preceding_ms = milliseconds(value).ok_or_else(|| {
                let hint = "write RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW";
                refuse(format!("{name}() OVER: RANGE takes an interval of days or less"), hint)
            })?;
            Ok(Frame::Range { preceding_ms })
        }
    }
}

fn milliseconds(value: &ScalarValue) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    match value {
        ScalarValue::IntervalMonthDayNano(Some(span)) if span.months == 0 => {
            i64::from(span.days).checked_mul(DAY_MS)?.checked_add(span.nanoseconds / 1_000_000)
        }
        ScalarValue::IntervalDayTime(Some(span)) => {
            i64::from(span.days).checked_mul(DAY_MS)?.checked_add(i64::from(span.milliseconds))
        }
        ScalarValue::DurationMillisecond(ms) => *ms,
        ScalarValue::DurationNanosecond(nanos) => Some((*nanos)? / 1_000_000),
        _ => None,
    }
    .filter(|ms| *ms >= 0)
}

fn describe_frame(frame: Frame) -> String {
    match frame {
        Frame::Unbounded { peers: true } => "RANGE UNBOUNDED PRECEDING".into(),
        Frame::Unbounded { peers: false } => "ROWS UNBOUNDED PRECEDING".into(),
        Frame::Rows { from, to: 0 } => format!("ROWS {from} PRECEDING"),
        Frame::Rows { from, to } => format!("ROWS {from} TO {to} PRECEDING"),
        Frame::Range { preceding_ms } => format!("RANGE {} PRECEDING", describe_ms(preceding_ms)),
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
    if !is_range_only(calls) && !keys.partition_by.is_empty() {
        translator.note_unbounded_state("OverAggregate", "aggregates or rows of every partition", input.bounded)?;
    }
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    let is_event_time = keys.domain == TimeDomain::Event;
    let columns = kept.iter().map(|index| base.field(*index).clone());
    let schema: Arc<Schema> =
        Arc::new(Schema::new(columns.chain(calls.iter().map(|call| call.field.clone())).collect::<Vec<_>>()));
    let (exchange, parallelism) = by_key(keys.partition_by);
    let operator = Over {
        keys: keys.partition_by.to_vec(),
        order: keys.order_by.to_vec(),
        is_event_time,
        functions: calls.iter().map(|call| call.function.clone()).collect(),
        kept: kept.to_vec(),
        ttl_ms,
        input: Arc::clone(base),
        schema: Arc::clone(&schema),
    };
    let details = details(base, keys, calls, ttl_ms);
    let mut draft = operator_draft("OverAggregate", Arc::new(operator), input, Arc::clone(&schema), details);
    draft.inputs[0].exchange = reachable(exchange, input.parallelism);
    draft.parallelism = parallelism;
    draft.state_signature = Some(signature(base, keys, calls, kept));
    let node = translator.graph.add(draft);
    if is_event_time {
        late::register(translator, input, node, parallelism);
    }
    let output = Stream::of(node, schema, parallelism, ChangelogMode::Append, input.bounded);
    Ok(Stream { steady: input.steady, ..output })
}

/// A partition ends with the last row in range.
fn is_range_only(calls: &[OverCall]) -> bool {
    calls.iter().all(|call| matches!(call.function, OverFunction::Aggregate(_, Frame::Range { .. })))
}

fn details(base: &Schema, keys: &OverKeys<'_>, calls: &[OverCall], ttl_ms: Option<i64>) -> Details {
    let mut details = Vec::new();
    if !keys.partition_by.is_empty() {
        details.push(detail("partition by", names(base, keys.partition_by)));
    }
    match keys.domain {
        TimeDomain::Event => details.push(detail("order by", describe_order(base, keys.order_by))),
        TimeDomain::Processing => details.push(detail("order by", "processing time")),
    }
    let shown: Vec<&str> = calls.iter().map(|call| call.display.as_str()).collect();
    details.push(detail("functions", shown.join(", ")));
    details.push(detail("state", state_note(keys, calls, ttl_ms)));
    details
}

fn state_note(keys: &OverKeys<'_>, calls: &[OverCall], ttl_ms: Option<i64>) -> String {
    let range_only = is_range_only(calls);
    let waiting = if keys.domain == TimeDomain::Event { "rows until the watermark passes them; " } else { "" };
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
    let read = calls.iter().flat_map(|call| match &call.function {
        OverFunction::Aggregate(call, _) => call.args.iter().copied().chain(call.filter).collect(),
        OverFunction::Lag { column, default, .. } => std::iter::once(*column).chain(*default).collect(),
        OverFunction::Number(_) => Vec::new(),
    });
    let read: Vec<usize> = read.collect();
    let shown: Vec<&str> = calls.iter().map(|call| call.display.as_str()).collect();
    format!(
        "keys [{}]; order {:?} {} [{}]; {} over [{}]; rows of {}",
        typed_names(base, keys.partition_by),
        keys.domain,
        describe_order(base, keys.order_by),
        typed_names(base, &sorted),
        shown.join(", "),
        typed_names(base, &read),
        typed_names(base, kept),
    )
}
