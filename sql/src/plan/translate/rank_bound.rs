//! Top-N whose partitions say themselves, in a column of their key, how many of their rows are wanted.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Literal};

use super::Translator;
use crate::plan::display::display;
use crate::plan::physical::{Physical, column, identity, substitute};
use crate::plan::stream::Stream;

/// The stream with the bound among the columns of its base, and where it stands; the rank stands behind them as before. Rows of
/// partitions of which none is wanted, since the bound is below `from` or NULL, are left out.
pub(super) fn with_bound(
    translator: &mut Translator<'_>,
    stream: Stream,
    bound: &Physical,
    from: u64,
) -> Result<(Stream, usize)> {
    let place = stream.base.fields().len();
    let bound_column: Physical = Arc::new(CastExpr::new(Arc::clone(bound), DataType::Int64, None));
    let first: Physical = Arc::new(Literal::new(ScalarValue::Int64(Some(i64::try_from(from).unwrap_or(i64::MAX)))));
    let wanted: Physical = Arc::new(BinaryExpr::new(Arc::clone(&bound_column), Operator::GtEq, first));
    let mut columns = identity(&stream.base);
    columns.push(bound_column);
    let added = Arc::new(Field::new(display(bound), DataType::Int64, true));
    let schema = Arc::new(Schema::new(stream.base.fields().iter().cloned().chain([added]).collect::<Vec<_>>()));
    let prepared = Stream { columns, conjuncts: vec![wanted], schema, unstable: None, ..stream.clone() };
    let input = translator.settle(prepared)?;
    let rank = column("rank", input.base.fields().len());
    let moved: Vec<Physical> = identity(&stream.base).into_iter().chain([rank]).collect();
    let over = |exprs: &[Physical]| exprs.iter().map(|expr| substitute(expr, &moved)).collect::<Result<Vec<_>>>();
    let (columns, conjuncts) = (over(&stream.columns)?, over(&stream.conjuncts)?);
    Ok((Stream { columns, conjuncts, schema: stream.schema, unstable: stream.unstable, ..input }, place))
}
