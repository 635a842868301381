//! In front of a sink: whether it can take the changes of a query, and what turns them into the changes that it takes.

use std::sync::Arc;

use tidemill_engine::graph::{ChangelogMode, Exchange, Parallelism};
use tidemill_engine::operators::drop_update_before::DropUpdateBefore;
use tidemill_engine::operators::table_snapshot::TableSnapshot;

use super::graph_builder::detail;
use super::stream::Stream;
use super::translate::{Translator, names, operator_draft, typed_names};
use crate::catalog::TableDefinition;
use crate::diagnostic::Diagnostic;

/// Refuses updates where the sink appends, and upserts without a key.
pub(super) fn check(
    translator: &Translator<'_>,
    rows: &Stream,
    accepts: ChangelogMode,
    definition: &TableDefinition,
) -> Result<(), Diagnostic> {
    let name = &definition.name;
    if rows.changelog == ChangelogMode::Append {
        return Ok(());
    }
    match accepts {
        ChangelogMode::Retract => Ok(()),
        ChangelogMode::Upsert if !definition.primary_key.is_empty() => Ok(()),
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

/// `instead`: what to write in the sink's table, so that it takes updates.
fn refused(updater: &str, rows: &Stream, sink: &str, instead: Option<&str>) -> Diagnostic {
    let message = format!("{updater} emits updates of earlier results, but sink `{sink}` takes appended rows only");
    let sink = instead.unwrap_or("use a sink that takes updates");
    let hint = if updater == "WindowChanges" {
        let options = "windows give early or corrected results (table.exec.emit...)";
        format!("{options}: SET 'tidemill.emit.corrections' = 'append' gives them as further rows, or {sink}")
    } else if rows.half_windowed {
        "results are final only when they are grouped by both window_start and window_end: add the missing one".into()
    } else {
        format!("group by a window (window_start, window_end) so that results are final, or {sink}")
    };
    Diagnostic::new(message).with_hint(hint)
}

/// The rows of a query, whose columns are the sink's, as upserts by the sink's primary key.
pub(super) fn add(translator: &mut Translator<'_>, rows: Stream, definition: &TableDefinition) -> Stream {
    if rows.changelog == ChangelogMode::Append {
        return rows;
    }
    let schema = Arc::clone(&rows.base);
    let keys: Vec<usize> = definition.primary_key.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let details = vec![detail("key", names(&schema, &keys))];
    let operator = DropUpdateBefore { keys, input: Arc::clone(&schema) };
    let mut draft = operator_draft("DropUpdateBefore", Arc::new(operator), &rows, Arc::clone(&schema), details);
    draft.changelog = ChangelogMode::Upsert;
    let node = translator.graph.add(draft);
    Stream { steady: rows.steady, ..Stream::of(node, schema, rows.parallelism, ChangelogMode::Upsert, rows.bounded) }
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
