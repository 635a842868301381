//! SELECT lists, WHERE and HAVING, and aliases of relations: all become part of a Calc.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_common::{DFSchema, Result};
use datafusion_expr::{Expr, LogicalPlan};

use super::{Translator, refused};
use crate::plan::display::display;
use crate::plan::physical::{Physical, column_index, is_trivial};
use crate::plan::stream::Stream;
use crate::plan::unstable::Unstable;

pub(super) fn translate_projection(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    Some(translator.translate_pending(&projection.input).and_then(|input| {
        let exprs = projection.expr.iter().map(|expr| translator.expr(expr, projection.input.schema()));
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let pending = input.rank.is_some() || input.sort.is_some();
        let input = if !pending && input.repeats_work(&exprs) { translator.settle(input)? } else { input };
        let unstable = Unstable::of_columns(&input, &projection.expr, &exprs);
        Ok(Stream { unstable, ..input.project(exprs, plain_schema(&projection.schema))? })
    }))
}

pub(super) fn translate_filter(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Filter(filter) = plan else { return None };
    let input = translator.translate_pending(&filter.input).and_then(|input| translator.resolve_sort(input));
    Some(input.and_then(|input| {
        refused::check_expr(&filter.predicate)?;
        let conjuncts = translator.physicals.conjuncts(&filter.predicate, filter.input.schema())?;
        let unstable = Unstable::of_filter(&input, &filter.predicate, &conjuncts)?;
        let input = Stream { unstable, ..input };
        let (about_rank, conjuncts): (Vec<_>, Vec<_>) = conjuncts.into_iter().partition(|part| input.reads_rank(part));
        let input = input.filter(&about_rank)?;
        // A computed column that is filtered by stays a column: it is computed once, before the filter.
        let computed = input.rank.is_none() && conjuncts.iter().any(|part| input.reads_computed(part));
        let input = if computed { translator.settle(input)? } else { input };
        input.filter(&conjuncts)
    }))
}

pub(super) fn translate_alias(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::SubqueryAlias(alias) = plan else { return None };
    Some(
        translator.translate_pending(&alias.input).map(|input| Stream { schema: plain_schema(&alias.schema), ..input }),
    )
}

impl Translator<'_> {
    /// A logical expression over a stream with this schema.
    pub fn expr(&self, expr: &Expr, schema: &DFSchema) -> Result<Physical> {
        refused::check_expr(expr)?;
        self.physicals.expr(expr, schema)
    }
}

/// The columns of a logical plan as Arrow knows them: without qualifiers and metadata.
pub(crate) fn plain_schema(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter();
    let plain = fields.map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable()));
    Arc::new(Schema::new(plain.collect::<Vec<_>>()))
}

/// `a, b + 1 AS c`; columns that keep their name are named once.
pub(super) fn describe_columns(columns: &[Physical], schema: &Schema) -> String {
    let described = columns.iter().zip(schema.fields()).map(|(expr, field)| {
        let text = display(expr);
        let same = text == *field.name() && (is_trivial(expr) || column_index(expr).is_some());
        if same { text } else { format!("{text} AS {}", field.name()) }
    });
    described.collect::<Vec<_>>().join(", ")
}

/// Visits an expression with everything below it.
pub(crate) fn any(expr: &Expr, mut test: impl FnMut(&Expr) -> bool) -> bool {
    let mut found = false;
    let visited = expr.apply(|node| {
        found |= test(node);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    found || visited.is_err()
}
