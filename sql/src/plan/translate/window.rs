//! Window table functions: kept pending, since most are followed by an aggregation that does their work itself.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;
use tidemill_engine::time::window::TimeDomain;

use super::Translator;
use super::calc::plain_schema;
use crate::plan::nodes::window::WindowNode;
use crate::plan::physical::{Physical, column_index};
use crate::plan::stream::Stream;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Extension(extension) = plan else { return None };
    let node = extension.node.as_any().downcast_ref::<WindowNode>()?;
    Some(translator.translate(&node.input).and_then(|input| put_over(translator, node, input)))
}

fn put_over(translator: &mut Translator<'_>, node: &WindowNode, input: Stream) -> Result<Stream> {
    let schema = node.input.schema();
    let index_of = |expr: &datafusion_expr::Expr, stream: &Stream| -> Result<Option<usize>> {
        let over: Physical = translator.expr(expr, schema)?;
        Ok(column_index(&stream.below(&over)?))
    };
    let time = index_of(&node.time, &input)?;
    let keys = node.partition_by.iter().map(|expr| index_of(expr, &input)).collect::<Result<Option<Vec<_>>>>()?;
    let reads_time = node.spec.domain == TimeDomain::Event;
    let settled = input.window.is_none() && keys.is_some() && (time.is_some() || !reads_time);
    if !settled {
        let input = translator.settle(input)?;
        return put_over(translator, node, input);
    }
    let output = plain_schema(&node.schema);
    let keys = keys.unwrap_or_default();
    Ok(input.window(node.spec.clone(), time.unwrap_or_default(), keys, Arc::clone(&output)))
}
