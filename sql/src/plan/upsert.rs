//! In front of a sink: whether it can take the changes of a query, and what turns them into the changes that it takes.

use std::sync::Arc;

use datafusion_expr::LogicalPlan;
use tidemill_engine::graph::{ChangelogMode, Exchange, Parallelism};
use tidemill_engine::operators::drop_update_before::DropUpdateBefore;
use tidemill_engine::operators::table_snapshot::TableSnapshot;
use tidemill_engine::operators::upsert_materialize::UpsertMaterialize;

use super::graph_builder::{NodeDraft, detail};
use super::keys::{self, Key};
use super::stream::Stream;
use super::translate::{Translator, names, operator_draft, ttl_note, typed_names};
use super::unstable::Unstable;
use crate::catalog::TableDefinition;
use crate::diagnostic::Diagnostic;
use crate::settings;

/// Refuses updates where the sink appends, and upserts without a key.
pub(super) fn check(
    translator: &Translator<'_>,
    rows: &Stream,
    accepts: ChangelogMode,
    definition: &TableDefinition,
    key: &TargetKey,
) -> Result<(), Diagnostic> {
    let name = &definition.name;
    if rows.changelog == ChangelogMode::Append {
        return Ok(());
    }
    match accepts {
        ChangelogMode::Retract => Ok(()),
        ChangelogMode::Upsert if !definition.primary_key.is_empty() => check_order(translator, key, definition),
        ChangelogMode::Upsert => {
            let message = format!("sink `{name}` replaces rows by key, but has no PRIMARY KEY to say which");
            Err(Diagnostic::new(message).with_hint("declare PRIMARY KEY (...) NOT ENFORCED in its CREATE TABLE"))
        }
        ChangelogMode::Append => {
            let instead = translator.resolver.context.connectors.takes_updates_with(definition);
            Err(refused(translator.graph.updater(rows.node), rows, name, instead.as_deref()))
        }
    }
}

/// Without what keeps the rows of a key, changes of several instances could overtake each other on their way to the sink.
fn check_order(translator: &Translator<'_>, key: &TargetKey, definition: &TableDefinition) -> Result<(), Diagnostic> {
    let never = translator.resolver.context.settings.upsert_materialize() == settings::UpsertMaterialize::Never;
    if key.is_upsert_key || !never {
        return Ok(());
    }
    let (name, columns) = (&definition.name, definition.primary_key.join(", "));
    let message = format!(
        "sink `{name}` replaces rows by ({columns}), which is no key of the query: a row whose key changes could leave a wrong one"
    );
    let hint =
        "SET 'table.exec.sink.upsert-materialize' = 'AUTO', or write into a table whose PRIMARY KEY is the query's";
    Err(Diagnostic::new(message).with_hint(hint))
}

/// `instead`: what to write in the sink's table, so that it takes updates.
fn refused(updater: &str, rows: &Stream, sink: &str, instead: Option<&str>) -> Diagnostic {
    let message = format!("{updater} emits updates of earlier results, but sink `{sink}` takes appended rows only");
    let sink = instead.unwrap_or("use a sink that takes updates");
    let hint = if ["WindowChanges", "SessionAggregate"].contains(&updater) {
        let options = "windows give early or corrected results (table.exec.emit...)";
        format!("{options}: SET 'tidemill.emit.corrections' = 'append' gives them as further rows, or {sink}")
    } else if rows.half_windowed {
        "results are final only when they are grouped by both window_start and window_end: add the missing one".into()
    } else {
        format!("group by a window (window_start, window_end) so that results are final, or {sink}")
    };
    Diagnostic::new(message).with_hint(hint)
}

/// A sink's primary key, seen from the query.
pub(super) struct TargetKey {
    /// Columns of the sink.
    places: Vec<usize>,
    /// Columns of the query that become them.
    origins: Key,
    /// The query's changes come in order by these columns.
    pub is_upsert_key: bool,
}

impl TargetKey {
    /// `columns`: of the sink, each with the query's column that it comes from.
    pub fn new(definition: &TableDefinition, columns: &[(String, Option<usize>)], plan: &LogicalPlan) -> Self {
        let place = |name: &String| columns.iter().position(|(column, _)| column == name);
        let places: Vec<usize> = definition.primary_key.iter().filter_map(place).collect();
        let origins: Key = places.iter().filter_map(|place| columns[*place].1).collect();
        let is_upsert_key = keys::of_plan(plan).iter().any(|key| key.is_subset(&origins));
        Self { places, origins, is_upsert_key }
    }

    /// True where the key depends on what is computed anew each time.
    pub fn reads(&self, unstable: &Unstable) -> bool {
        unstable.columns.iter().any(|column| self.origins.contains(column))
    }
}

/// The rows of a query, whose columns are the sink's, as upserts by the sink's primary key.
pub(super) fn add(translator: &mut Translator<'_>, rows: Stream, key: &TargetKey) -> datafusion_common::Result<Stream> {
    if !rows.is_updated() {
        return Ok(rows);
    }
    let settings = translator.resolver.context.settings;
    let materialize = match settings.upsert_materialize() {
        settings::UpsertMaterialize::Force => true,
        settings::UpsertMaterialize::Auto | settings::UpsertMaterialize::Never => !key.is_upsert_key,
    };
    if materialize {
        translator.note_unbounded_state("UpsertMaterialize", "all rows of each key of its sink", rows.bounded)?;
    }
    let ttl_ms = settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    let draft = if materialize { materialized(&rows, &key.places, ttl_ms) } else { dropped(&rows, &key.places) };
    let (schema, parallelism) = (Arc::clone(&rows.base), draft.parallelism);
    let node = translator.graph.add(draft);
    let upserts = Stream::of(node, schema, parallelism, ChangelogMode::Upsert, rows.bounded);
    Ok(Stream { steady: rows.steady, ..upserts })
}

fn dropped(rows: &Stream, keys: &[usize]) -> NodeDraft {
    let schema = &rows.base;
    let details = vec![detail("key", names(schema, keys))];
    let operator = DropUpdateBefore { keys: keys.to_vec(), input: Arc::clone(schema) };
    let draft = operator_draft("DropUpdateBefore", Arc::new(operator), rows, Arc::clone(schema), details);
    NodeDraft { changelog: ChangelogMode::Upsert, ..draft }
}

/// Changes of one of the sink's keys come from several instances: they meet, and all rows of the key are kept.
fn materialized(rows: &Stream, keys: &[usize], ttl_ms: Option<i64>) -> NodeDraft {
    let schema = &rows.base;
    let state = format!("all rows of each key, in order of arrival; {}", ttl_note(ttl_ms));
    let details = vec![detail("key", names(schema, keys)), detail("state", state)];
    let columns: Vec<usize> = (0..schema.fields().len()).collect();
    let signature = format!("keys [{}]; rows of {}", typed_names(schema, keys), typed_names(schema, &columns));
    let operator = UpsertMaterialize { keys: keys.to_vec(), ttl_ms, input: Arc::clone(schema) };
    let mut draft = operator_draft("UpsertMaterialize", Arc::new(operator), rows, Arc::clone(schema), details);
    draft.inputs[0].exchange = Exchange::Hash(keys.to_vec());
    draft.parallelism = Parallelism::Job;
    draft.changelog = ChangelogMode::Upsert;
    draft.state_signature = Some(signature);
    draft
}

/// The table that the rows keep by the sink's primary key, as a whole at each barrier before which it changed: for a
/// sink that writes nothing else.
pub(super) fn keep_table(translator: &mut Translator<'_>, rows: &Stream, definition: &TableDefinition) -> Stream {
    let schema = Arc::clone(&rows.base);
    let keys: Vec<usize> = definition.primary_key.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let details = vec![
        detail("key", names(&schema, &keys)),
        detail("state", "the table's rows by key; a row is freed when it is deleted"),
    ];
    let signature = format!(
        "keys [{}]; rows of {}",
        typed_names(&schema, &keys),
        typed_names(&schema, &(0..schema.fields().len()).collect::<Vec<_>>())
    );
    let operator = TableSnapshot { keys, schema: Arc::clone(&schema) };
    let mut draft = operator_draft("TableSnapshot", Arc::new(operator), rows, Arc::clone(&schema), details);
    draft.uid = format!("table-snapshot:{}", definition.name);
    draft.inputs = vec![super::translate::edge(rows, Parallelism::One)];
    if draft.inputs[0].exchange == Exchange::Rebalance {
        draft.inputs[0].exchange = Exchange::Single;
    }
    draft.parallelism = Parallelism::One;
    draft.changelog = ChangelogMode::Upsert;
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    Stream::of(node, schema, Parallelism::One, ChangelogMode::Upsert, rows.bounded)
}
