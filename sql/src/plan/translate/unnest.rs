//! UNNEST: rows are multiplied by the elements of an ARRAY or MAP.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use tidemill_engine::operators::unnest::Unnest;

use super::Translator;
use super::calc::plain_schema;
use super::settle::operator_draft;
use crate::plan::display::display;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::unnest::UnnestNode;
use crate::plan::physical::identity;
use crate::plan::stream::Stream;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    let node = extension.node.as_any().downcast_ref::<UnnestNode>()?;
    Some(translator.translate(&node.input).and_then(|input| unnest(translator, node, input)))
}

fn unnest(translator: &mut Translator<'_>, node: &UnnestNode, input: Stream) -> Result<Stream> {
    let collection = translator.expr(&node.collection, node.input.schema())?;
    let inherited = input.schema.fields().len();
    // The collection becomes a column of its own behind the input's.
    let input = if input.repeats_work(std::slice::from_ref(&collection)) { translator.settle(input)? } else { input };
    let own_type = collection.data_type(&input.schema)?;
    let text = display(&collection);
    let mut columns = identity(&input.schema);
    columns.push(collection);
    let mut fields: Vec<_> = input.schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("collection", own_type, true)));
    let input = Stream { whole_row: None, ..input }.project(columns, Arc::new(Schema::new(fields)))?;
    let input = translator.settle(input)?;
    let added = plain_schema(&node.added);
    let all = input.base.fields().iter().chain(added.fields()).cloned();
    let schema = Arc::new(Schema::new(all.collect::<Vec<_>>()));
    let operator =
        Unnest { column: inherited, outer: node.outer, ordinality: node.ordinality, schema: Arc::clone(&schema) };
    let mut details = vec![detail("of", text)];
    if node.outer {
        details.push(detail("outer", "rows without elements stay"));
    }
    let draft = operator_draft("Unnest", Arc::new(operator), &input, Arc::clone(&schema), details);
    let id = translator.graph.add(draft);
    let output = Stream::of(id, schema, input.parallelism, input.changelog, input.bounded);
    let mut columns = output.columns.clone();
    columns.remove(inherited);
    Ok(Stream { columns, schema: plain_schema(&node.schema), steady: input.steady, ..output })
}
