//! Aggregation without a window: every new row may change a result that was given before.

use std::sync::Arc;

use datafusion_common::Result;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::operators::group_aggregate::{GroupAggregate, MiniBatch};

use super::Translator;
use super::aggregate::{Bound, Prepared, calls_signature, display_calls};
use super::grouping_sets;
use super::settle::{by_key, names, operator_draft, reachable, typed_names};
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_ms;
use crate::plan::physical::column;
use crate::plan::stream::Stream;

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
    let output = add_node(translator, &input, keys, calls, schema)?;
    let half_windowed = bound.key_columns.iter().any(|traits| traits.window.is_some());
    Ok(Stream { schema: bound.schema, half_windowed, ..output })
}

fn add_node(
    translator: &mut Translator<'_>,
    input: &Stream,
    keys: Vec<usize>,
    calls: Vec<tidemill_engine::aggregate::AggregateCall>,
    schema: arrow::datatypes::SchemaRef,
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
    let mut draft = operator_draft("GroupAggregate", Arc::new(operator), input, Arc::clone(&schema), details);
    draft.inputs[0].exchange = reachable(exchange, input.parallelism);
    draft.parallelism = parallelism;
    draft.changelog = changelog;
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    Ok(Stream { steady: input.steady, ..Stream::of(node, schema, parallelism, changelog, input.bounded) })
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
