//! ORDER BY, LIMIT, OFFSET and FETCH.
//!
//! An order is left pending until it is known whether a LIMIT stands above it. By time, rows are given as the watermark
//! passes them; other orders need the end of the input, or a limit, which makes them a Top-N that is updated.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::{Expr, LogicalPlan, Sort};
use tidemill_engine::graph::{ChangelogMode, Parallelism};
use tidemill_engine::operator::OperatorFactory;
use tidemill_engine::operators::limit::Limit;
use tidemill_engine::operators::ordering::{RankFunction, RankRange, SortColumn};
use tidemill_engine::operators::sort::{EndSort, TimeSort};
use tidemill_engine::operators::top_n::{Emission, Order, TopN};
use tidemill_engine::time::window::TimeDomain;

use super::aggregate::Prepared;
use super::calc::plain_schema;
use super::ranked::describe_order;
use super::settle::{Details, operator_draft, reachable, typed_names};
use super::{Translator, late};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::graph_builder::detail;
use crate::plan::physical::{Physical, column, columns_read, identity, substitute};
use crate::plan::stream::{PendingSort, Stream};
use crate::plan::traits;

/// Up to so many rows a limited order keeps only the rows that it will give; beyond, all of them.
const TOP_ROWS_MAX: u64 = 10_000;

/// Rows that are wanted of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Limits {
    skip: u64,
    fetch: Option<u64>,
}

impl Limits {
    fn is_all(self) -> bool {
        self == Self::default()
    }

    /// As ranks.
    fn range(self) -> Option<RankRange> {
        let to = self.fetch.map(|fetch| self.skip.saturating_add(fetch)).filter(|to| *to > self.skip)?;
        Some(RankRange { from: self.skip + 1, to })
    }

    fn describe(self) -> Details {
        let fetch = self.fetch.map(|fetch| detail("limit", fetch.to_string()));
        let skip = (self.skip > 0).then(|| detail("offset", self.skip.to_string()));
        fetch.into_iter().chain(skip).collect()
    }
}

pub(super) fn translate_sort(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Sort(sort) = plan else { return None };
    Some(translator.translate(&sort.input).and_then(|input| order(translator, sort, input)))
}

pub(super) fn translate_limit(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Limit(limit) = plan else { return None };
    let limits = || {
        let skip = limit.skip.as_deref().map(|skip| rows_of(skip, "OFFSET")).transpose()?.unwrap_or(0);
        let fetch = limit.fetch.as_deref().map(|fetch| rows_of(fetch, "LIMIT")).transpose()?;
        Ok(Limits { skip, fetch })
    };
    Some(limits().and_then(|limits| {
        let input = translator.translate_pending(&limit.input)?;
        let input = translator.resolve_rank(input)?;
        if input.sort.is_some() { add_sort(translator, input, limits) } else { add_limit(translator, input, limits) }
    }))
}

fn rows_of(expr: &Expr, clause: &str) -> Result<u64> {
    let number = match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Int64) {
            Ok(ScalarValue::Int64(number)) => number,
            _ => None,
        },
        Expr::Cast(cast) => return rows_of(&cast.expr, clause),
        _ => None,
    };
    number.and_then(|number| u64::try_from(number).ok()).ok_or_else(|| {
        let found = Diagnostic::new(format!("{clause} takes a constant number of rows"));
        external(found.with_hint(format!("write {clause} 10")))
    })
}

/// Makes the sort columns part of the input and leaves the order pending.
fn order(translator: &mut Translator<'_>, sort: &Sort, input: Stream) -> Result<Stream> {
    let input = if input.window.is_some() { translator.settle(input)? } else { input };
    let known = traits::of_plan(&sort.input);
    let schema = sort.input.schema();
    let base = input.extended_base();
    let inherited = input.columns.len();
    let mut prepared = Prepared {
        columns: input.columns.clone(),
        fields: input.schema.fields().iter().map(|field| field.as_ref().clone()).collect(),
    };
    let mut order_by = Vec::new();
    for part in &sort.expr {
        let over = translator.expr(&part.expr, schema)?;
        let own = input.below(&over)?;
        let column = prepared.place(&own, &display(&over), own.data_type(&base)?, 0);
        order_by.push(SortColumn { column, descending: !part.asc, nulls_first: part.nulls_first });
    }
    let time = sort.expr.first().filter(|first| first.asc).and_then(|first| match &first.expr {
        Expr::Column(column) => schema.maybe_index_of_column(column).and_then(|index| known[index].time),
        _ => None,
    });
    let prepared_schema = prepared.schema();
    let input = translator.settle(Stream { columns: prepared.columns, schema: prepared_schema, ..input })?;
    let mut columns = identity(&input.base);
    columns.truncate(inherited);
    let sorted = PendingSort { order_by, time: time.filter(|_| input.changelog == ChangelogMode::Append) };
    Ok(Stream { columns, schema: plain_schema(sort.input.schema()), sort: Some(Box::new(sorted)), ..input })
}

impl Translator<'_> {
    /// Sorts a stream with a pending order, above which there is no LIMIT.
    pub fn resolve_sort(&mut self, stream: Stream) -> Result<Stream> {
        if stream.sort.is_some() { add_sort(self, stream, Limits::default()) } else { Ok(stream) }
    }
}

fn add_sort(translator: &mut Translator<'_>, mut stream: Stream, limits: Limits) -> Result<Stream> {
    let Some(sort) = stream.sort.take() else { return Ok(stream) };
    let unbounded = !stream.bounded;
    if let Some(domain) = sort.time {
        let ordered = match domain {
            TimeDomain::Event => add_time_sort(translator, stream, &sort)?,
            // Rows come in this order.
            TimeDomain::Processing => stream,
        };
        return if limits.is_all() { Ok(ordered) } else { add_limit(translator, ordered, limits) };
    }
    match limits.range() {
        None if limits.fetch.is_some() => add_limit(translator, stream, limits),
        Some(range) if unbounded || range.to <= TOP_ROWS_MAX => add_top(translator, stream, &sort.order_by, range),
        None if unbounded => Err(external(endless(&stream, &sort.order_by))),
        _ => add_end_sort(translator, stream, &sort, limits),
    }
}

fn endless(stream: &Stream, order_by: &[SortColumn]) -> Diagnostic {
    let message =
        format!("ORDER BY {} needs all rows, but this input has no end", describe_order(&stream.base, order_by));
    Diagnostic::new(message).with_hint(
        "order by the time attribute, upwards; or add LIMIT n for the first rows, which are updated as others come",
    )
}

fn add_time_sort(translator: &mut Translator<'_>, stream: Stream, sort: &PendingSort) -> Result<Stream> {
    let kept = kept_columns(&stream, None);
    let schema = Arc::new(stream.base.project(&kept)?);
    let operator = TimeSort {
        order: sort.order_by.clone(),
        kept: kept.clone(),
        input: Arc::clone(&stream.base),
        schema: Arc::clone(&schema),
    };
    let details = vec![
        detail("order by", describe_order(&stream.base, &sort.order_by)),
        detail("state", "rows until the watermark passes them"),
    ];
    let given = Given { schema, kept, changelog: ChangelogMode::Append };
    add_single(translator, stream, "TimeSort", Arc::new(operator), details, &sort.order_by, given)
}

fn add_end_sort(translator: &mut Translator<'_>, stream: Stream, sort: &PendingSort, limits: Limits) -> Result<Stream> {
    let kept = kept_columns(&stream, Some(&sort.order_by));
    let schema = Arc::new(stream.base.project(&kept)?);
    let operator = EndSort {
        order: sort.order_by.clone(),
        kept: kept.clone(),
        skip: limits.skip,
        fetch: limits.fetch,
        input: Arc::clone(&stream.base),
        schema: Arc::clone(&schema),
    };
    let mut details = vec![detail("order by", describe_order(&stream.base, &sort.order_by))];
    details.extend(limits.describe());
    details.push(detail("state", "all rows until the input ends"));
    let given = Given { schema, kept, changelog: ChangelogMode::Append };
    add_single(translator, stream, "Sort", Arc::new(operator), details, &sort.order_by, given)
}

/// The rows that are left when an input that has an end is there; those of an appended one as they come.
pub(super) fn final_rows(translator: &mut Translator<'_>, stream: Stream) -> Result<Stream> {
    if !stream.is_updated() {
        return Ok(stream);
    }
    let kept: Vec<usize> = (0..stream.base.fields().len()).collect();
    let signature = format!("rows of {}; {:?}", typed_names(&stream.base, &kept), stream.changelog);
    let (input, schema) = (Arc::clone(&stream.base), Arc::clone(&stream.base));
    let operator = EndSort { order: Vec::new(), kept, skip: 0, fetch: None, input, schema: Arc::clone(&schema) };
    let details = vec![detail("state", "all rows until the input ends")];
    let mut draft = operator_draft("FinalRows", Arc::new(operator), &stream, schema, details);
    draft.inputs[0].exchange = reachable(tidemill_engine::graph::Exchange::Single, stream.parallelism);
    draft.parallelism = Parallelism::One;
    draft.changelog = ChangelogMode::Append;
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    let port = tidemill_engine::operator::MAIN_PORT;
    Ok(Stream { node, port, parallelism: Parallelism::One, changelog: ChangelogMode::Append, ..stream })
}

/// The first rows of an order: at the end of an input that has one, else updated as rows come.
fn add_top(
    translator: &mut Translator<'_>,
    stream: Stream,
    order_by: &[SortColumn],
    range: RankRange,
) -> Result<Stream> {
    let updated = stream.changelog != ChangelogMode::Append;
    let emission = if stream.bounded { Emission::AtEnd } else { Emission::Changes };
    let kept = kept_columns(&stream, Some(order_by));
    let schema = Arc::new(stream.base.project(&kept)?);
    let operator = TopN {
        keys: Vec::new(),
        order: Order::Columns(order_by.to_vec()),
        function: RankFunction::RowNumber,
        range,
        bound: None,
        kept: kept.clone(),
        with_rank: false,
        updated,
        emission,
        ttl_ms: None,
        input: Arc::clone(&stream.base),
        schema: Arc::clone(&schema),
    };
    let mut details = Vec::new();
    if !order_by.is_empty() {
        details.push(detail("order by", describe_order(&stream.base, order_by)));
    }
    details.extend(Limits { skip: range.from - 1, fetch: Some(range.to + 1 - range.from) }.describe());
    let until = if stream.bounded { " until the input ends" } else { "" };
    details.push(detail("state", format!("{}{until}", if updated { "all rows" } else { "the first rows" })));
    let changelog = if stream.bounded { ChangelogMode::Append } else { ChangelogMode::Retract };
    let given = Given { schema, kept, changelog };
    add_single(translator, stream, "SortLimit", Arc::new(operator), details, order_by, given)
}

/// The first rows that come; of an updated input, the first of any order, so that they do not depend on the arrival.
fn add_limit(translator: &mut Translator<'_>, stream: Stream, limits: Limits) -> Result<Stream> {
    if stream.changelog != ChangelogMode::Append {
        let stream = translator.settle(stream)?;
        return match limits.range() {
            Some(range) => add_top(translator, stream, &[], range),
            None if limits.fetch.is_some() => add_counted(translator, stream, limits),
            None => {
                let message = "OFFSET over rows that are updated later has no end";
                Err(external(Diagnostic::new(message).with_hint("add LIMIT n, or FETCH NEXT n ROWS ONLY")))
            }
        };
    }
    let stream = translator.settle(stream)?;
    add_counted(translator, stream, limits)
}

fn add_counted(translator: &mut Translator<'_>, stream: Stream, limits: Limits) -> Result<Stream> {
    let operator = Limit { skip: limits.skip, fetch: limits.fetch, schema: Arc::clone(&stream.base) };
    let mut details = limits.describe();
    details.push(detail("state", "a number"));
    let mut draft = operator_draft("Limit", Arc::new(operator), &stream, Arc::clone(&stream.base), details);
    draft.inputs[0].exchange = reachable(tidemill_engine::graph::Exchange::Single, stream.parallelism);
    draft.parallelism = Parallelism::One;
    draft.state_signature = Some(format!("{limits:?}"));
    let node = translator.graph.add(draft);
    Ok(Stream { node, port: tidemill_engine::operator::MAIN_PORT, parallelism: Parallelism::One, ..stream })
}

/// What the operator gives.
struct Given {
    schema: Arc<Schema>,
    /// The columns of the stream's base that it gives.
    kept: Vec<usize>,
    changelog: ChangelogMode,
}

/// The columns of the base that are read behind an order; with `order_by`, those at least.
fn kept_columns(stream: &Stream, order_by: Option<&[SortColumn]>) -> Vec<usize> {
    let mut kept: Vec<usize> = stream.columns.iter().chain(&stream.conjuncts).flat_map(columns_read).collect();
    kept.sort_unstable();
    kept.dedup();
    if kept.is_empty() {
        kept.extend(order_by.and_then(|order| order.first()).map_or(Some(0), |sort| Some(sort.column)));
    }
    kept
}

/// A node of one instance, and the stream behind it.
fn add_single(
    translator: &mut Translator<'_>,
    stream: Stream,
    name: &str,
    operator: Arc<dyn OperatorFactory>,
    details: Details,
    order_by: &[SortColumn],
    given: Given,
) -> Result<Stream> {
    let Given { schema, kept, changelog } = given;
    let shown: Vec<String> = details.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let sorted: Vec<usize> = order_by.iter().map(|sort| sort.column).collect();
    let mut draft = operator_draft(name, operator, &stream, Arc::clone(&schema), details);
    draft.inputs[0].exchange = reachable(tidemill_engine::graph::Exchange::Single, stream.parallelism);
    draft.parallelism = Parallelism::One;
    draft.changelog = changelog;
    draft.state_signature = Some(format!(
        "{}; [{}]; rows of {}; {:?}",
        shown.join("; "),
        typed_names(&stream.base, &sorted),
        typed_names(&stream.base, &kept),
        stream.changelog,
    ));
    let node = translator.graph.add(draft);
    if name == "TimeSort" {
        late::register(translator, &stream, node, Parallelism::One);
    }
    let output = Stream::of(node, schema, Parallelism::One, changelog, stream.bounded);
    let place = |index: usize| kept.iter().position(|kept| *kept == index).unwrap_or_default();
    let fields = stream.base.fields().iter().enumerate();
    let moved: Vec<Physical> = fields.map(|(index, field)| column(field.name(), place(index))).collect();
    let over = |exprs: &[Physical]| exprs.iter().map(|expr| substitute(expr, &moved)).collect::<Result<Vec<_>>>();
    let (columns, conjuncts) = (over(&stream.columns)?, over(&stream.conjuncts)?);
    Ok(Stream { columns, conjuncts, schema: stream.schema, steady: stream.steady, unstable: stream.unstable, ..output })
}
