//! Aggregation per window: results are final when the window closes, and its state is freed then.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, Literal};
use tidemill_engine::aggregate::AggregateCall;
use tidemill_engine::graph::{ChangelogMode, Exchange, Parallelism};
use tidemill_engine::operator::OperatorFactory;
use tidemill_engine::operators::session_aggregate::SessionAggregate;
use tidemill_engine::operators::window_aggregate::{Emission, WindowAggregate, WindowInput, WindowProperty};
use tidemill_engine::time::window::{TimeDomain, WindowSpec};

use super::aggregate::{Bound, Call, Key, Prepared, calls_signature, display_calls};
use super::settle::{Details, by_key, names, operator_draft, reachable, typed_names};
use super::{Translator, emission, fill, grouping_sets, late};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::{PROPERTIES, describe_window};
use crate::plan::physical::{Physical, column, column_index, columns_read, substitute};
use crate::plan::stream::{PendingWindow, Stream};
use crate::plan::traits;
use crate::settings::AggregatePhases;

/// The count of rows that an aggregation over updates keeps beside its own calls.
const ROW_COUNT: &str = "COUNT(*) of rows";

pub(super) fn add(translator: &mut Translator<'_>, mut input: Stream, mut bound: Bound) -> Result<Stream> {
    if input.is_updated() {
        bound.count_rows()?;
    }
    let Some(spec) = traits::window_of(&bound.key_traits).cloned() else {
        return Err(external(Diagnostic::new("the window of this aggregation was lost in planning")));
    };
    refuse_sets_without_window(&bound)?;
    if let Some(window) = input.window.take() {
        if window.spec == spec && suits(&input, &window, &bound) {
            return over_time(translator, input, window, bound);
        }
        input.window = Some(window);
        let rebound = Rebound::settle(translator, input, bound)?;
        return attached(translator, rebound.input, &spec, rebound.bound);
    }
    attached(translator, input, &spec, bound)
}

fn refuse_sets_without_window(bound: &Bound) -> Result<()> {
    let is_window = |index: usize| bound.key_traits[index].window.is_some();
    let sets = bound.grouping.sets.iter().flatten();
    let lacks = sets.clone().any(|set| set.iter().enumerate().any(|(index, has)| is_window(index) && !has));
    if !lacks {
        return Ok(());
    }
    let message = "every grouping set must have window_start and window_end";
    let hint = "write GROUP BY window_start, window_end, ROLLUP (...)";
    Err(external(Diagnostic::new(message).with_hint(hint)))
}

/// True when the aggregation can put rows into windows itself: nothing else reads the window's columns.
fn suits(input: &Stream, window: &PendingWindow, bound: &Bound) -> bool {
    let reads_window = |expr: &Physical| input.reads_window(expr);
    let args = bound.calls.iter().flat_map(|call| call.args.iter().chain(&call.filter));
    let other_keys = || bound.other_keys().map(|key| &key.expr);
    let mixed = |part: &Physical| reads_window(part) && !reads_only_window(input, part);
    if other_keys().chain(args).any(reads_window) || input.conjuncts.iter().any(mixed) {
        return false;
    }
    if !window.is_session() {
        return true;
    }
    // A session is formed per partition from all its rows: its keys must be the grouping's, and no row may be dropped
    // between the two.
    let mut keys: Vec<_> = other_keys().map(column_index).collect();
    let mut partition_by: Vec<_> = window.partition_by.iter().map(|index| Some(*index)).collect();
    keys.sort_unstable();
    keys.dedup();
    partition_by.sort_unstable();
    // What is asked of the keys alone drops whole sessions.
    let of_keys = |part: &Physical| columns_read(part).iter().all(|index| window.partition_by.contains(index));
    let drops_rows = |part: &Physical| !reads_window(part) && !of_keys(part);
    let dropped = input.conjuncts[window.conjuncts_below..].iter().any(drops_rows);
    keys == partition_by && !dropped && bound.grouping.sets.is_none()
}

fn reads_only_window(input: &Stream, expr: &Physical) -> bool {
    columns_read(expr).into_iter().all(|index| index >= input.base.fields().len())
}

impl Bound {
    /// The keys that are no window columns.
    fn other_keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().zip(&self.key_traits).filter(|(_, traits)| traits.window.is_none()).map(|(key, _)| key)
    }

    fn property(&self, key: usize) -> Option<WindowProperty> {
        self.key_traits[key].window.as_ref().map(|(property, _)| *property)
    }
}

/// An input whose window was made a node, and the aggregation over its columns.
struct Rebound {
    input: Stream,
    bound: Bound,
}

impl Rebound {
    fn settle(translator: &mut Translator<'_>, input: Stream, mut bound: Bound) -> Result<Self> {
        // Expressions are over the base and the window's columns: settle exactly those that they read.
        let base = input.extended_base();
        let calls = bound.calls.iter().flat_map(|call| call.args.iter().chain(&call.filter));
        let mut used: Vec<usize> = bound.keys.iter().map(|key| &key.expr).chain(calls).flat_map(columns_read).collect();
        used.sort_unstable();
        used.dedup();
        let columns = used.iter().map(|index| column(base.field(*index).name(), *index)).collect();
        let settled = translator.settle(Stream { columns, schema: Arc::new(base.project(&used)?), ..input })?;
        let place = |index: usize| used.iter().position(|used| *used == index).unwrap_or_default();
        let moved: Vec<Physical> =
            base.fields().iter().enumerate().map(|(index, field)| column(field.name(), place(index))).collect();
        for key in &mut bound.keys {
            key.expr = substitute(&key.expr, &moved)?;
        }
        for call in &mut bound.calls {
            for expr in call.args.iter_mut().chain(&mut call.filter) {
                *expr = substitute(expr, &moved)?;
            }
        }
        Ok(Self { input: settled, bound })
    }
}

/// Keys first, then what the calls need.
fn prepare(bound: &Bound, base: &Schema) -> Result<(Prepared, Vec<AggregateCall>)> {
    let mut prepared = Prepared::default();
    for key in bound.other_keys() {
        prepared.columns.push(Arc::clone(&key.expr));
        prepared.fields.push(key.field.clone());
    }
    let first = if bound.grouping.sets.is_some() { prepared.columns.len() } else { 0 };
    let calls = prepared.calls(&bound.calls, base, first)?;
    Ok((prepared, calls))
}

/// What an operator is given once its columns are computed and rows are multiplied for grouping sets.
struct Given {
    input: Stream,
    keys: Vec<usize>,
    calls: Vec<AggregateCall>,
    /// Where columns of the prepared input that stand behind the keys have moved.
    shift: usize,
}

fn give(
    translator: &mut Translator<'_>,
    input: Stream,
    bound: &Bound,
    prepared: Prepared,
    mut calls: Vec<AggregateCall>,
) -> Result<Given> {
    let count = bound.other_keys().count();
    let mut keys: Vec<usize> = (0..count).collect();
    let input = Stream { schema: prepared.schema(), columns: prepared.columns, ..input };
    let mut input = translator.settle(input)?;
    let Some(sets) = &bound.grouping.sets else {
        return Ok(Given { input, keys, calls, shift: 0 });
    };
    let places: Vec<usize> = (0..bound.keys.len()).filter(|index| bound.property(*index).is_none()).collect();
    input = grouping_sets::expand(translator, input, &bound.grouping, sets, &places)?;
    for call in &mut calls {
        call.args.iter_mut().chain(call.filter.as_mut()).for_each(|column| *column += 1);
    }
    keys.push(count);
    Ok(Given { input, keys, calls, shift: 1 })
}

/// Rows are put into windows by the operator that aggregates them.
fn over_time(
    translator: &mut Translator<'_>,
    mut input: Stream,
    window: PendingWindow,
    bound: Bound,
) -> Result<Stream> {
    let (above, below) = std::mem::take(&mut input.conjuncts).into_iter().partition(|part| input.reads_window(part));
    input.conjuncts = below;
    let base = Arc::clone(&input.base);
    let (mut prepared, calls) = prepare(&bound, &base)?;
    let first = bound.grouping.sets.as_ref().map_or(0, |_| bound.other_keys().count());
    let time = match base.fields().get(window.time) {
        Some(field) => {
            prepared.place(&column(field.name(), window.time), field.name(), field.data_type().clone(), first)
        }
        None => 0,
    };
    let given = give(translator, input, &bound, prepared, calls)?;
    let time = if time >= first { time + given.shift } else { time };
    let mut properties = bound.properties();
    for (property, index) in PROPERTIES.iter().zip(base.fields().len()..) {
        let read = above.iter().any(|part: &Physical| columns_read(part).contains(&index));
        if read && !properties.contains(property) {
            properties.push(*property);
        }
    }
    let steady = given.input.steady;
    let emission = emission::wanted(translator, &given.input, &window.spec)?;
    fill::check(translator, &window.spec)?;
    let output = if window.is_session() {
        let row_count = bound.counts_rows.then(|| given.calls.len() - 1);
        add_session(translator, &given, &window.spec, time, &properties, emission, row_count)?
    } else {
        let phases =
            if emission.is_final_only() { phases(translator, &given, &window.spec, &bound) } else { Phases::One };
        let input = WindowInput::Time { column: time, spec: window.spec.clone() };
        let rows = add_windows(translator, &given, input, &properties, phases, emission)?;
        fill::add(translator, rows, given.keys.len(), &given.calls, &properties, &window.spec)?
    };
    let output = bound.arrange(Stream { steady, ..output }, &given, &properties)?;
    filter_windows(output, above, base.fields().len(), &given, &properties)
}

/// Conditions on the window's columns hold or fail for whole windows, so they are checked on the results.
fn filter_windows(
    mut output: Stream,
    conditions: Vec<Physical>,
    inherited: usize,
    given: &Given,
    properties: &[WindowProperty],
) -> Result<Stream> {
    let first = given.keys.len() + given.calls.len();
    let place = |index: usize| {
        let property = PROPERTIES.get(index.wrapping_sub(inherited));
        properties.iter().position(|known| Some(known) == property).map_or(index, |place| first + place)
    };
    let moved: Vec<Physical> = (0..inherited + PROPERTIES.len())
        .map(|index| {
            column(PROPERTIES.get(index.wrapping_sub(inherited)).map_or("", |property| property.name()), place(index))
        })
        .collect();
    for condition in conditions {
        output.conjuncts.push(substitute(&condition, &moved)?);
    }
    Ok(output)
}

/// Rows carry their window: they come from a window aggregation or assignment.
fn attached(translator: &mut Translator<'_>, input: Stream, spec: &WindowSpec, bound: Bound) -> Result<Stream> {
    if spec.domain == TimeDomain::Processing {
        let message = "results of processing-time windows cannot be aggregated by the same window again";
        let hint = "aggregate once, or use event time";
        return Err(external(Diagnostic::new(message).with_hint(hint)));
    }
    let base = input.extended_base();
    let (mut prepared, calls) = prepare(&bound, &base)?;
    let first = bound.grouping.sets.as_ref().map_or(0, |_| bound.other_keys().count());
    let bound_of = |wanted: WindowProperty, prepared: &mut Prepared| {
        let index = (0..bound.keys.len()).find(|index| bound.property(*index) == Some(wanted))?;
        let key = &bound.keys[index];
        Some(prepared.place(&key.expr, key.field.name(), key.field.data_type().clone(), first))
    };
    let bounds = bound_of(WindowProperty::Start, &mut prepared).zip(bound_of(WindowProperty::End, &mut prepared));
    let Some((start, end)) = bounds else {
        return Err(external(Diagnostic::new("a window's aggregation needs window_start and window_end as keys")));
    };
    let given = give(translator, input, &bound, prepared, calls)?;
    let moved = |index: usize| if index >= first { index + given.shift } else { index };
    let window = WindowInput::Attached { start: moved(start), end: moved(end), zone: spec.zone };
    let properties = bound.properties();
    let steady = given.input.steady;
    emission::refuse_closed_sessions(translator, spec)?;
    let emission = emission::wanted(translator, &given.input, spec)?;
    fill::check(translator, spec)?;
    let output = add_windows(translator, &given, window, &properties, Phases::One, emission)?;
    let output = fill::add(translator, output, given.keys.len(), &given.calls, &properties, spec)?;
    bound.arrange(Stream { steady, ..output }, &given, &properties)
}

impl Bound {
    fn properties(&self) -> Vec<WindowProperty> {
        let mut properties = Vec::new();
        for property in (0..self.keys.len()).filter_map(|index| self.property(index)) {
            if !properties.contains(&property) {
                properties.push(property);
            }
        }
        properties
    }

    /// The operator's output (keys, aggregates, window columns) in the order of the plan's.
    fn arrange(&self, output: Stream, given: &Given, properties: &[WindowProperty]) -> Result<Stream> {
        let first_property = given.keys.len() + given.calls.len();
        let mut places = Vec::new();
        let mut other = 0;
        for index in 0..self.keys.len() {
            let place = match self.property(index) {
                Some(property) => properties.iter().position(|known| *known == property).map(|p| first_property + p),
                None => {
                    other += 1;
                    Some(other - 1)
                }
            };
            places.extend(place);
        }
        places.extend(given.keys.get(other).map(|_| other));
        places.extend(given.keys.len()..first_property);
        let mut conjuncts = output.conjuncts;
        if self.counts_rows {
            // All rows of the window were taken back: it has no result.
            let count = places.pop().unwrap_or_default();
            let some: Physical = Arc::new(Literal::new(ScalarValue::from(0_i64)));
            let count: Physical = column(output.base.field(count).name(), count);
            conjuncts.push(Arc::new(BinaryExpr::new(count, Operator::Gt, some)));
        }
        let columns = places.into_iter().map(|place| column(output.base.field(place).name(), place)).collect();
        Ok(Stream { columns, conjuncts, schema: Arc::clone(&self.schema), ..output })
    }

    /// Adds a count of the rows behind the other calls, by which windows are known that have lost all of theirs.
    fn count_rows(&mut self) -> Result<()> {
        let refused = |error: tidemill_engine::EngineError| external(Diagnostic::new(error.to_string()));
        let factory = tidemill_engine::aggregate::resolve_over_updates("count", &[], &[], false).map_err(refused)?;
        let output = Field::new(ROW_COUNT, DataType::Int64, false);
        let display = ROW_COUNT.to_owned();
        self.calls.push(Call { display, output, factory, distinct: false, args: Vec::new(), filter: None });
        self.counts_rows = true;
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phases {
    One,
    Two,
}

/// Aggregating before the exchange is sound when nothing depends on single rows any more: lateness is decided per row
/// from its own split's watermark, which a partial result no longer has.
fn phases(translator: &Translator<'_>, given: &Given, spec: &WindowSpec, bound: &Bound) -> Phases {
    let appended = !given.input.is_updated() && given.input.whole_row.is_none();
    let sound = spec.domain == TimeDomain::Event && appended && given.input.steady;
    let worthwhile = match translator.resolver.context.settings.aggregate_phases() {
        AggregatePhases::One => false,
        AggregatePhases::Two => true,
        // A partial set of distinct values is about as large as the rows that it came from.
        AggregatePhases::Auto => !bound.calls.iter().any(|call| call.distinct),
    };
    if sound && worthwhile { Phases::Two } else { Phases::One }
}

fn add_windows(
    translator: &mut Translator<'_>,
    given: &Given,
    window: WindowInput,
    properties: &[WindowProperty],
    phases: Phases,
    emission: Emission,
) -> Result<Stream> {
    let (keys, calls, input) = (given.keys.clone(), given.calls.clone(), Arc::clone(&given.input.base));
    let schema = WindowAggregate::output_schema(&window, &keys, &calls, properties, &input);
    let described = describe_input(&window, &input);
    let mut details = details(given, &described);
    emission::describe(emission, &mut details);
    let (zone, domain) = (window.zone(), window.domain());
    let signature = signature(given, &described, zone);
    let (aggregates, properties) = (calls, properties.to_vec());
    let operator = WindowAggregate { window, keys, aggregates, properties, emission, input, schema };
    if phases == Phases::One {
        let schema = Arc::clone(&operator.schema);
        let (widths, properties) = ((operator.keys.len(), operator.aggregates.len()), operator.properties.clone());
        // Whole windows as they stand, whatever became of their rows before.
        let changelog = ChangelogMode::Append;
        let node = Keyed { name: "WindowAggregate", operator: Arc::new(operator), schema, changelog };
        let rows = add_keyed(translator, given, node, details, signature);
        return match emission.is_final_only() {
            true => Ok(rows),
            false => emission::add_changes(translator, rows, widths, &properties, zone, domain),
        };
    }
    let two = operator.two_phase().map_err(|error| external(Diagnostic::new(error.to_string())));
    let (local, global) = two?;
    let partial = Arc::clone(&local.schema);
    let draft =
        operator_draft("LocalWindowAggregate", Arc::new(local), &given.input, Arc::clone(&partial), details.clone());
    let node = translator.graph.add(draft);
    let local_stream = Stream::of(node, partial, given.input.parallelism, given.input.changelog, given.input.bounded);
    let keys: Vec<usize> = (0..given.keys.len()).collect();
    let given = Given { input: local_stream, keys, calls: given.calls.clone(), shift: given.shift };
    let (schema, changelog) = (Arc::clone(&global.schema), ChangelogMode::Append);
    let node = Keyed { name: "GlobalWindowAggregate", operator: Arc::new(global), schema, changelog };
    Ok(add_keyed(translator, &given, node, details, signature))
}

fn add_session(
    translator: &mut Translator<'_>,
    given: &Given,
    spec: &WindowSpec,
    time_column: usize,
    properties: &[WindowProperty],
    emission: Emission,
    row_count: Option<usize>,
) -> Result<Stream> {
    if row_count.is_some() && spec.domain == TimeDomain::Processing {
        let message = "a SESSION window in processing time cannot be put over rows that are updated later";
        let hint = "use event time: when a row that is taken back had come is not known any more";
        return Err(external(Diagnostic::new(message).with_hint(hint)));
    }
    let (keys, calls, input) = (given.keys.clone(), given.calls.clone(), Arc::clone(&given.input.base));
    let window = WindowInput::Time { column: time_column, spec: spec.clone() };
    let schema = WindowAggregate::output_schema(&window, &keys, &calls, properties, &input);
    let described = describe_input(&window, &input);
    let mut details = details(given, &described);
    emission::describe(emission, &mut details);
    details.retain(|(name, _)| name != "state");
    let (correction, corrected) = emission::correction(translator);
    if !emission.is_final_only() {
        details.push(emission::describe_correction(correction));
    }
    details.push(detail("state", session_state(emission, row_count.is_some())));
    let over = if row_count.is_some() { "; over updates" } else { "" };
    let told = if emission.is_final_only() { "" } else { "; told more than once" };
    let signature = format!("{}; by timer{over}{told}", signature(given, &described, spec.zone));
    let operator = SessionAggregate {
        spec: spec.clone(),
        time_column,
        keys,
        aggregates: calls,
        properties: properties.to_vec(),
        emission,
        correction,
        row_count,
        input,
        schema: Arc::clone(&schema),
    };
    let changelog = if emission.is_final_only() { ChangelogMode::Append } else { corrected };
    let node = Keyed { name: "SessionAggregate", operator: Arc::new(operator), schema, changelog };
    Ok(add_keyed(translator, given, node, details, signature))
}

fn session_state(emission: Emission, is_updated: bool) -> String {
    let kept = if is_updated { "aggregates per key and time of a row" } else { "aggregates per key and open session" };
    let shown = if emission.is_final_only() { "" } else { " and the last results of its key" };
    format!("{kept}{shown}; freed when the session closes")
}

/// What a node behind an exchange by key is.
struct Keyed {
    name: &'static str,
    operator: Arc<dyn OperatorFactory>,
    schema: arrow::datatypes::SchemaRef,
    changelog: ChangelogMode,
}

fn add_keyed(
    translator: &mut Translator<'_>,
    given: &Given,
    node: Keyed,
    details: Details,
    signature: String,
) -> Stream {
    let Keyed { name, operator, schema, changelog } = node;
    let (exchange, parallelism): (Exchange, Parallelism) = by_key(&given.keys);
    let mut draft = operator_draft(name, operator, &given.input, Arc::clone(&schema), details);
    draft.inputs[0].exchange = reachable(exchange, given.input.parallelism);
    draft.parallelism = parallelism;
    draft.state_signature = Some(signature);
    draft.changelog = changelog;
    let node = translator.graph.add(draft);
    late::register(translator, &given.input, node, parallelism);
    Stream::of(node, schema, parallelism, changelog, given.input.bounded)
}

fn describe_input(window: &WindowInput, input: &Schema) -> String {
    match window {
        WindowInput::Time { column, spec } => {
            let clock = match (spec.domain, input.fields().get(*column)) {
                (TimeDomain::Event, Some(field)) => format!(" by {}", field.name()),
                _ => " by processing time".to_owned(),
            };
            format!("{}{clock}", describe_window(spec))
        }
        WindowInput::Attached { start, end, .. } => {
            format!("{} to {}, as the rows carry them", input.field(*start).name(), input.field(*end).name())
        }
    }
}

fn details(given: &Given, window: &str) -> Details {
    let mut details = vec![detail("window", window)];
    if !given.keys.is_empty() {
        details.push(detail("group by", names(&given.input.base, &given.keys)));
    }
    if !given.calls.is_empty() {
        details.push(detail("aggregates", display_calls(&given.calls)));
    }
    details.push(detail("state", "aggregates per key and window; freed when a window closes"));
    details
}

fn signature(given: &Given, window: &str, zone: Option<chrono_tz::Tz>) -> String {
    let keys = typed_names(&given.input.base, &given.keys);
    let zone = zone.map_or(String::new(), |zone| format!(" in {}", zone.name()));
    format!("window {window}{zone}; keys [{keys}]; {}", calls_signature(&given.calls, &given.input.base))
}
