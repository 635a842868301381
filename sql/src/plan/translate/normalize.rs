//! Behind a source that upserts: the operator that gives each retraction its full old row.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::Result;
use tidemill_engine::graph::{ChangelogMode, Exchange};
use tidemill_engine::operators::changelog_normalize::ChangelogNormalize;

use super::Translator;
use super::group_by::ttl_note;
use super::settle::{names, operator_draft, typed_names};
use crate::catalog::TableDefinition;
use crate::diagnostic::Diagnostic;
use crate::plan::graph_builder::detail;
use crate::plan::stream::Stream;

/// What a table's source gives, and whether it has to be put right by key.
#[derive(Clone, Copy)]
pub(super) struct SourceChangelog {
    pub given: ChangelogMode,
    /// Rows may come twice.
    repeats: bool,
}

impl SourceChangelog {
    /// Rows meet by primary key behind the source.
    pub fn needs_key(self) -> bool {
        self.given == ChangelogMode::Upsert || self.repeats
    }

    /// Of what the source node gives: a deleted row may lack all but its key.
    pub fn source_schema(self, declared: &SchemaRef) -> SchemaRef {
        if self.given != ChangelogMode::Upsert {
            return Arc::clone(declared);
        }
        let fields = declared.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

/// What the table's source gives; upserts need a primary key.
pub(super) fn changelog_of(
    translator: &Translator<'_>,
    definition: &TableDefinition,
) -> std::result::Result<SourceChangelog, Diagnostic> {
    let context = translator.resolver.context;
    let given = context.connectors.source_changelog(definition);
    let has_key = !definition.primary_key.is_empty();
    if given == ChangelogMode::Upsert && !has_key {
        let name = &definition.name;
        let message = format!("table `{name}` gives upserts, but has no PRIMARY KEY to say which row one replaces");
        let hint = "declare PRIMARY KEY (...) NOT ENFORCED in its CREATE TABLE";
        return Err(Diagnostic::at(definition.span, message).with_hint(hint));
    }
    let repeats = given == ChangelogMode::Retract && has_key && context.settings.cdc_events_repeat();
    Ok(SourceChangelog { given, repeats })
}

/// The columns of the primary key.
pub(super) fn key_of(definition: &TableDefinition) -> impl Iterator<Item = usize> {
    let place = |name: &String| definition.columns.iter().position(|column| column.name == *name);
    definition.primary_key.iter().filter_map(place)
}

/// The rows of a source, normalized by the table's primary key. `schema`: the columns as they are declared.
pub(super) fn add(
    translator: &mut Translator<'_>,
    rows: Stream,
    definition: &TableDefinition,
    schema: &SchemaRef,
) -> Result<Stream> {
    let what = format!("the last row of each key of `{}`", definition.name);
    translator.note_unbounded_state("ChangelogNormalize", &what, rows.bounded)?;
    let keys: Vec<usize> = definition.primary_key.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    let details = vec![
        detail("key", names(schema, &keys)),
        detail("state", format!("the last row of each key; {}", ttl_note(ttl_ms))),
    ];
    let signature = format!(
        "keys [{}]; rows of {}",
        typed_names(schema, &keys),
        typed_names(schema, &(0..schema.fields().len()).collect::<Vec<_>>())
    );
    let input = Arc::clone(&rows.base);
    let operator = ChangelogNormalize { keys: keys.clone(), ttl_ms, input, schema: Arc::clone(schema) };
    let name = "ChangelogNormalize";
    let mut draft = operator_draft(name, Arc::new(operator), &rows, Arc::clone(schema), details);
    draft.uid = format!("changelog-normalize:{}", definition.name);
    draft.inputs[0].exchange = Exchange::Hash(keys);
    draft.changelog = ChangelogMode::Retract;
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    let normalized = Stream::of(node, Arc::clone(schema), rows.parallelism, ChangelogMode::Retract, rows.bounded);
    Ok(Stream { steady: rows.steady, ..normalized })
}
