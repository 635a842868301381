//! Aggregation without a window: every new row may change a result that was given before.

use std::sync::Arc;

use datafusion_common::Result;
use tidemill_engine::graph::{ChangelogMode, Parallelism};
use tidemill_engine::operators::group_aggregate::{
    GlobalGroupAggregate, GroupAggregate, LocalGroupAggregate, MiniBatch,
};

use super::Translator;
use super::aggregate::{Bound, Prepared, calls_signature, display_calls};
use super::grouping_sets;
use super::settle::{Details, by_key, names, operator_draft, reachable, typed_names, uid_of};
use crate::plan::graph_builder::{NodeDraft, detail};
use crate::plan::nodes::window::describe_ms;
use crate::plan::physical::column;
use crate::plan::stream::Stream;
use crate::settings::AggregatePhases;

pub(super) fn add(translator: &mut Translator<'_>, input: Stream, bound: Bound) -> Result<Stream> {
    let base = input.extended_base();
    let mut prepared = Prepared::default();
    for key in &bound.keys {
        prepared.columns.push(Arc::clone(&key.expr));
        prepared.fields.push(key.field.clone());
    }
    let mut keys: Vec<usize> = (0..bound.keys.len()).collect();
    let first = if bound.grouping.sets.is_some() { keys.len() } else { 0 };
    let mut calls = prepared.calls(&bound.calls, &base, first)?;
    if prepared.columns.is_empty() && !base.fields().is_empty() {
        // COUNT(*) of everything: rows are counted by a column.
        prepared.place(&column(base.field(0).name(), 0), base.field(0).name(), base.field(0).data_type().clone(), 0);
    }
    let input = Stream { columns: prepared.columns.clone(), schema: prepared.schema(), whole_row: None, ..input };
    let mut input = translator.settle(input)?;
    if let Some(sets) = &bound.grouping.sets {
        input = grouping_sets::expand(translator, input, &bound.grouping, sets, &keys)?;
        for call in &mut calls {
            call.args.iter_mut().chain(call.filter.as_mut()).for_each(|column| *column += 1);
        }
        keys.push(keys.len());
    }
    let key_fields = bound.schema.fields()[..keys.len()].iter().map(|field| field.as_ref().clone());
    let fields = key_fields.chain(calls.iter().map(|call| call.output.clone()));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()));
    let is_distinct = bound.calls.iter().any(|call| call.distinct);
    let output = add_node(translator, &input, keys, calls, schema, is_distinct)?;
    let half_windowed = bound.key_columns.iter().any(|traits| traits.window.is_some());
    Ok(Stream { schema: bound.schema, half_windowed, ..output })
}

fn add_node(
    translator: &mut Translator<'_>,
    input: &Stream,
    keys: Vec<usize>,
    calls: Vec<tidemill_engine::aggregate::AggregateCall>,
    schema: arrow::datatypes::SchemaRef,
    is_distinct: bool,
) -> Result<Stream> {
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    if !keys.is_empty() {
        translator.note_unbounded_state("an aggregation without a window", "every key", input.bounded)?;
    }
    let (exchange, parallelism) = by_key(&keys);
    let mini_batch = translator.resolver.context.settings.mini_batch().map(|gathered| MiniBatch {
        rows_max: gathered.rows,
        latency_ms: gathered.latency.map(|latency| latency.as_millis() as i64),
    });
    let mut details = Vec::new();
    if !keys.is_empty() {
        details.push(detail("group by", names(&input.base, &keys)));
    }
    if !calls.is_empty() {
        details.push(detail("aggregates", display_calls(&calls)));
    }
    details.push(detail("state", state_note(&keys, ttl_ms)));
    let over = if input.is_updated() { "; over updates" } else { "" };
    let signature =
        format!("keys [{}]; {}{over}", typed_names(&input.base, &keys), calls_signature(&calls, &input.base));
    let appends = calls.is_empty() && !input.is_updated();
    let changelog = if appends { ChangelogMode::Append } else { ChangelogMode::Retract };
    let operator = GroupAggregate {
        keys,
        aggregates: calls,
        ttl_ms,
        mini_batch,
        input: Arc::clone(&input.base),
        schema: Arc::clone(&schema),
    };
    let mut draft = match two_phase(translator, &operator, input, is_distinct) {
        None => {
            let mut draft = operator_draft("GroupAggregate", Arc::new(operator), input, Arc::clone(&schema), details);
            draft.inputs[0].exchange = reachable(exchange, input.parallelism);
            draft
        }
        Some((local, global)) => add_local(translator, local, global, input, details),
    };
    draft.parallelism = parallelism;
    draft.changelog = changelog;
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    Ok(Stream { steady: input.steady, ..Stream::of(node, schema, parallelism, changelog, input.bounded) })
}

/// The two halves, where batches are to be aggregated before the exchange and can be.
fn two_phase(
    translator: &Translator<'_>,
    operator: &GroupAggregate,
    input: &Stream,
    is_distinct: bool,
) -> Option<(LocalGroupAggregate, GlobalGroupAggregate)> {
    let worthwhile = match translator.resolver.context.settings.aggregate_phases() {
        AggregatePhases::One => false,
        AggregatePhases::Two => true,
        // A partial set of distinct values is about as large as the rows that it came from. Of other aggregates one batch
        // with few keys takes less through the exchange, which is little to gain unless one instance does the rest alone.
        AggregatePhases::Auto => {
            let gathers = operator.keys.is_empty() || operator.mini_batch.is_some();
            !is_distinct && gathers && input.parallelism != Parallelism::One
        }
    };
    if worthwhile { operator.two_phase(input.is_updated()) } else { None }
}

/// Adds the first phase; the second one behind it has the state of an aggregation in one phase, under the same name.
fn add_local(
    translator: &mut Translator<'_>,
    local: LocalGroupAggregate,
    global: GlobalGroupAggregate,
    input: &Stream,
    details: Details,
) -> NodeDraft {
    let (partial, schema) = (Arc::clone(&local.schema), Arc::clone(global.schema()));
    let exchange = by_key(&(0..global.key_count()).collect::<Vec<_>>()).0;
    let mut draft = operator_draft("LocalGroupAggregate", Arc::new(local), input, Arc::clone(&partial), Vec::new());
    draft.changelog = ChangelogMode::Append;
    let node = translator.graph.add(draft);
    let partials = Stream::of(node, partial, input.parallelism, ChangelogMode::Append, input.bounded);
    let mut draft = operator_draft("GlobalGroupAggregate", Arc::new(global), &partials, schema, details);
    draft.uid = uid_of("GroupAggregate");
    draft.inputs[0].exchange = reachable(exchange, input.parallelism);
    draft
}

fn state_note(keys: &[usize], ttl_ms: Option<i64>) -> String {
    if keys.is_empty() { "one row".into() } else { ttl_note(ttl_ms) }
}

/// When the state of a key is freed.
pub(crate) fn ttl_note(ttl_ms: Option<i64>) -> String {
    match ttl_ms {
        Some(ttl) => format!("a key is forgotten {} after its last row", describe_ms(ttl)),
        None => "grows with the number of keys: set table.exec.state.ttl to bound it".into(),
    }
}
