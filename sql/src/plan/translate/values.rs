//! VALUES, and queries without FROM: rows that the plan carries with it.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{EmptyRelation, LogicalPlan, Values};
use tidemill_engine::graph::{ChangelogMode, NodeKind, Parallelism};
use tidemill_engine::operators::values_source::ValuesSource;
use tidemill_engine::source::SourceSpec;

use super::Translator;
use super::calc::plain_schema;
use crate::plan::graph_builder::{NodeDraft, detail};
use crate::plan::physical::identity;
use crate::plan::stream::Stream;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    match plan {
        LogicalPlan::Values(values) => Some(translator.values(values)),
        LogicalPlan::EmptyRelation(relation) => Some(translator.empty(relation)),
        _ => None,
    }
}

impl Translator<'_> {
    fn values(&mut self, values: &Values) -> Result<Stream> {
        let schema = plain_schema(&values.schema);
        let one_row = row_without_columns(1)?;
        let no_columns = datafusion_common::DFSchema::empty();
        let mut columns: Vec<Vec<ScalarValue>> = vec![Vec::new(); schema.fields().len()];
        for row in &values.values {
            for ((expr, field), column) in row.iter().zip(schema.fields()).zip(&mut columns) {
                let array = self.expr(expr, &no_columns)?.evaluate(&one_row)?.into_array(1)?;
                let array = arrow::compute::cast(&array, field.data_type())?;
                column.push(ScalarValue::try_from_array(&array, 0)?);
            }
        }
        let arrays = columns.into_iter().map(ScalarValue::iter_to_array).collect::<Result<Vec<ArrayRef>>>()?;
        let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let rows = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
        Ok(self.add_values(schema, rows))
    }

    /// One row without columns, or none.
    fn empty(&mut self, relation: &EmptyRelation) -> Result<Stream> {
        if relation.produce_one_row {
            return Ok(self.add_values(Arc::new(Schema::empty()), row_without_columns(1)?));
        }
        let schema = plain_schema(&relation.schema);
        Ok(self.add_values(Arc::clone(&schema), RecordBatch::new_empty(schema)))
    }

    fn add_values(&mut self, schema: SchemaRef, rows: RecordBatch) -> Stream {
        let details = vec![detail("rows", rows.num_rows().to_string())];
        let source = Arc::new(ValuesSource::new(Arc::clone(&schema), vec![rows]));
        let spec = SourceSpec { source, columns: identity(&schema), watermark: None };
        let node = self.graph.add(NodeDraft {
            uid: "values".into(),
            name: "Values".into(),
            kind: NodeKind::Source(spec),
            inputs: Vec::new(),
            parallelism: Parallelism::One,
            schema: Arc::clone(&schema),
            changelog: ChangelogMode::Append,
            details,
            state_signature: None,
        });
        Stream::of(node, schema, Parallelism::One, ChangelogMode::Append, true)
    }
}

fn row_without_columns(rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?)
}
