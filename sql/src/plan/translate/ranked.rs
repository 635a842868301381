//! ROW_NUMBER, RANK and DENSE_RANK with conditions on the number: deduplication and Top-N.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_physical_expr::expressions::Literal;
use tidemill_engine::graph::{ChangelogMode, Parallelism};
use tidemill_engine::operator::OperatorFactory;
use tidemill_engine::operators::first_row::FirstRow;
use tidemill_engine::operators::ordering::{RankFunction, RankRange, SortColumn};
use tidemill_engine::operators::over::OverFunction;
use tidemill_engine::operators::over::whole::Complete;
use tidemill_engine::operators::top_n::{Emission, Order, TopN};
use tidemill_engine::operators::window_rank::WindowRank;
use tidemill_engine::time::window::{TimeDomain, WindowSpec};

use super::over::{self, Given, OverCall, OverKeys};
use super::settle::{Details, by_key, names, operator_draft, reachable, typed_names};
use super::{Translator, late, rank_bound, sort};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_ms;
use crate::plan::over_window::OverOrder;
use crate::plan::physical::{Physical, column, columns_read, substitute};
use crate::plan::rank_filter::{self, Bounds, PartitionBound};
use crate::plan::stream::{PendingRank, Stream};

/// Name of the rank's column in the operator's output.
const RANK: &str = "rank";

impl Translator<'_> {
    /// Numbers the rows of a stream with a pending rank, now that all conditions on it are known.
    pub fn resolve_rank(&mut self, mut stream: Stream) -> Result<Stream> {
        let Some(rank) = stream.rank.take() else { return Ok(stream) };
        let (bounds, rest) = rank_filter::bounds(&stream.conjuncts, stream.base.fields().len());
        let name = rank.function.name();
        let first_only = (bounds.from, bounds.to) == (1, Some(1)) && rank.function == RankFunction::RowNumber;
        if let OverOrder::Time(domain) = rank.order
            && !first_only
        {
            return add_numbers(self, stream, &rank, Given::InOrder(domain));
        }
        if matches!(rank.order, OverOrder::Rows | OverOrder::Newest)
            && let Some(bound) = rank_filter::partition_bound(&rest, &stream.base, &rank.partition_by)
        {
            return add_bounded(self, Stream { conjuncts: rest, ..stream }, &rank, bounds, &bound);
        }
        let to = match (&rank.order, bounds.to) {
            (_, Some(to)) => to,
            // All rows of a window are there when it closes.
            (OverOrder::Window(..), None) => i64::MAX,
            _ if stream.bounded => {
                let stream = sort::final_rows(self, stream)?;
                return add_numbers(self, stream, &rank, Given::Whole(Complete::AtEnd));
            }
            _ => return Err(external(unlimited(name))),
        };
        if to < bounds.from {
            return Err(external(no_number(name, bounds.from as u64, to)));
        }
        stream.conjuncts = rest;
        let to = if to == i64::MAX { u64::MAX } else { to as u64 };
        let range = RankRange { from: bounds.from as u64, to };
        let ranked = Ranked::new(&stream, &rank, range);
        match rank.order {
            OverOrder::Newest | OverOrder::Rows => add_top_n(self, stream, &rank, ranked),
            OverOrder::Time(domain) => add_first_row(self, stream, &rank, ranked, domain),
            OverOrder::Window(ref spec, end) => {
                let end = rank.partition_by[end];
                add_window_rank(self, stream, &rank, ranked, (spec, end))
            }
        }
    }
}

/// Each partition says itself how many of its rows are wanted.
fn add_bounded(
    translator: &mut Translator<'_>,
    mut stream: Stream,
    rank: &PendingRank,
    bounds: Bounds,
    bound: &PartitionBound,
) -> Result<Stream> {
    if bound.exact {
        stream.conjuncts.remove(bound.conjunct);
    }
    let range = RankRange { from: bounds.from as u64, to: bounds.to.map_or(u64::MAX, |to| to.max(0) as u64) };
    if range.to < range.from {
        return Err(external(no_number(rank.function.name(), range.from, range.to)));
    }
    let (stream, place) = rank_bound::with_bound(translator, stream, &bound.expr, range.from)?;
    let ranked = Ranked { bound: Some(place), ..Ranked::new(&stream, rank, range) };
    add_top_n(translator, stream, rank, ranked)
}

fn no_number(name: &str, from: u64, to: impl std::fmt::Display) -> Diagnostic {
    Diagnostic::new(format!("{name}() OVER: no row has a number from {from} to {to}")).with_hint("numbers start at 1")
}

fn unlimited(name: &str) -> Diagnostic {
    let message = format!("{name}() OVER numbers all rows: each new row would change the numbers of those behind it");
    Diagnostic::new(message).with_hint(
        "say how many are wanted: SELECT ... FROM (SELECT ..., ROW_NUMBER() OVER (...) AS n FROM ...) WHERE n <= 10, or QUALIFY; \
         or in a column that all rows of a partition have in common: OVER (PARTITION BY shop, wanted ...) and WHERE n <= wanted",
    )
}

/// What a ranking operator keeps and gives.
struct Ranked {
    range: RankRange,
    /// A column of the stream's base that bounds the range as well.
    bound: Option<usize>,
    /// Columns of the stream's base.
    kept: Vec<usize>,
    with_rank: bool,
}

impl Ranked {
    fn new(stream: &Stream, rank: &PendingRank, range: RankRange) -> Self {
        let number = stream.base.fields().len();
        let mut kept: Vec<usize> = stream.columns.iter().chain(&stream.conjuncts).flat_map(columns_read).collect();
        kept.sort_unstable();
        kept.dedup();
        // A single row number is a constant.
        let constant = rank.function == RankFunction::RowNumber && range.from == range.to;
        let with_rank = kept.pop_if(|last| *last == number).is_some() && !constant;
        if kept.is_empty() {
            // Rows need something to be told apart by, if only to count them.
            kept.extend(
                rank.partition_by.first().copied().or(rank.order_by.first().map(|sort| sort.column)).or(Some(0)),
            );
        }
        Self { range, bound: None, kept, with_rank }
    }

    fn schema(&self, base: &Schema) -> Arc<Schema> {
        let kept = self.kept.iter().map(|index| base.field(*index).clone());
        let rank = self.with_rank.then(|| Field::new(RANK, DataType::Int64, false));
        Arc::new(Schema::new(kept.chain(rank).collect::<Vec<_>>()))
    }

    /// The stream behind the operator: its columns and remaining conditions over the operator's.
    fn behind(&self, stream: Stream, output: Stream) -> Result<Stream> {
        let base = &stream.base;
        let number: Physical = match self.with_rank {
            true => column(RANK, self.kept.len()),
            false => Arc::new(Literal::new(ScalarValue::Int64(Some(self.range.from as i64)))),
        };
        let place = |index: usize| self.kept.iter().position(|kept| *kept == index).unwrap_or_default();
        let fields = base.fields().iter().enumerate();
        let moved = fields.map(|(index, field)| column(field.name(), place(index))).chain([number]);
        let moved: Vec<Physical> = moved.collect();
        let over = |exprs: &[Physical]| exprs.iter().map(|expr| substitute(expr, &moved)).collect::<Result<Vec<_>>>();
        let (columns, conjuncts) = (over(&stream.columns)?, over(&stream.conjuncts)?);
        Ok(Stream {
            columns,
            conjuncts,
            schema: stream.schema,
            steady: stream.steady,
            unstable: stream.unstable,
            ..output
        })
    }
}

fn add_top_n(translator: &mut Translator<'_>, stream: Stream, rank: &PendingRank, ranked: Ranked) -> Result<Stream> {
    let updated = stream.changelog != ChangelogMode::Append;
    let order = match rank.order {
        OverOrder::Newest if updated => {
            let message =
                format!("{}() OVER: rows that are updated later have no order of arrival", rank.function.name());
            return Err(external(Diagnostic::new(message).with_hint("order by a column of the rows")));
        }
        OverOrder::Newest => Order::NewestFirst,
        _ => Order::Columns(rank.order_by.clone()),
    };
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    let schema = ranked.schema(&stream.base);
    let (exchange, parallelism) = by_key(&rank.partition_by);
    let single = rank.function == RankFunction::RowNumber && ranked.range == RankRange { from: 1, to: 1 };
    let is_time = |sort: &SortColumn| matches!(stream.base.field(sort.column).data_type(), DataType::Timestamp(..));
    let name = if single && rank.order_by.first().is_some_and(is_time) { "Deduplicate" } else { "TopN" };
    if updated || !rank.partition_by.is_empty() {
        let what = if updated { "all rows" } else { "the rows in range of every partition" };
        translator.note_unbounded_state(name, what, stream.bounded)?;
    }
    let mut details = describe(&stream, rank, &ranked);
    details.push(detail("state", state_note(updated, parallelism, ttl_ms)));
    let signature = signature(&stream, rank, &ranked, updated);
    let operator = TopN {
        keys: rank.partition_by.clone(),
        order,
        function: rank.function,
        range: ranked.range,
        bound: ranked.bound,
        kept: ranked.kept.clone(),
        with_rank: ranked.with_rank,
        updated,
        emission: Emission::Changes,
        ttl_ms,
        input: Arc::clone(&stream.base),
        schema: Arc::clone(&schema),
    };
    let operator: Arc<dyn OperatorFactory> = Arc::new(operator);
    let mut draft = operator_draft(name, operator, &stream, Arc::clone(&schema), details);
    draft.inputs[0].exchange = reachable(exchange, stream.parallelism);
    draft.parallelism = parallelism;
    draft.changelog = ChangelogMode::Retract;
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    let output = Stream::of(node, schema, parallelism, ChangelogMode::Retract, stream.bounded);
    ranked.behind(stream, output)
}

/// Numbers in the order of time, and those of whole partitions, never change: conditions on them are as any other.
fn add_numbers(translator: &mut Translator<'_>, stream: Stream, rank: &PendingRank, given: Given) -> Result<Stream> {
    let range = RankRange { from: 1, to: u64::MAX };
    let ranked = Ranked { with_rank: true, ..Ranked::new(&stream, rank, range) };
    let call = OverCall {
        function: OverFunction::Number(rank.function),
        display: format!("{}()", rank.function.name()),
        field: Field::new(RANK, DataType::Int64, false),
    };
    let keys = OverKeys { partition_by: &rank.partition_by, order_by: &rank.order_by, given };
    let output = over::add(translator, &stream, &keys, &[call], &ranked.kept)?;
    ranked.behind(stream, output)
}

/// The first row of each partition by time is final.
fn add_first_row(
    translator: &mut Translator<'_>,
    stream: Stream,
    rank: &PendingRank,
    ranked: Ranked,
    domain: TimeDomain,
) -> Result<Stream> {
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    if !rank.partition_by.is_empty() {
        translator.note_unbounded_state("Deduplicate", "every key that it has seen", stream.bounded)?;
    }
    let schema = ranked.schema(&stream.base);
    let operator = FirstRow {
        keys: rank.partition_by.clone(),
        order: rank.order_by.clone(),
        is_event_time: domain == TimeDomain::Event,
        kept: ranked.kept.clone(),
        ttl_ms,
        input: Arc::clone(&stream.base),
        schema: Arc::clone(&schema),
    };
    let mut details = vec![detail("keep", "the first row")];
    details.extend(describe(&stream, rank, &ranked).into_iter().skip(1));
    let waiting = if domain == TimeDomain::Event { "rows until the watermark passes them; " } else { "" };
    let freed = match ttl_ms {
        Some(ttl) => format!("a key is forgotten {} after its row", describe_ms(ttl)),
        None => "grows with the number of keys: set table.exec.state.ttl to bound it".to_owned(),
    };
    details.push(detail("state", format!("{waiting}{freed}")));
    let finds_late = domain == TimeDomain::Event;
    let final_rows = Final { name: "Deduplicate", operator: Arc::new(operator), schema, details, finds_late };
    add_final(translator, stream, rank, ranked, final_rows)
}

fn add_window_rank(
    translator: &mut Translator<'_>,
    stream: Stream,
    rank: &PendingRank,
    ranked: Ranked,
    (spec, window_end): (&WindowSpec, usize),
) -> Result<Stream> {
    if spec.domain == TimeDomain::Processing {
        let message =
            format!("{}() OVER: rows of processing-time windows cannot be ranked within them", rank.function.name());
        return Err(external(Diagnostic::new(message).with_hint("use windows of event time")));
    }
    let schema = ranked.schema(&stream.base);
    let operator = WindowRank {
        window_end,
        zone: spec.zone,
        keys: rank.partition_by.clone(),
        order: rank.order_by.clone(),
        function: rank.function,
        range: ranked.range,
        kept: ranked.kept.clone(),
        with_rank: ranked.with_rank,
        input: Arc::clone(&stream.base),
        schema: Arc::clone(&schema),
    };
    let mut details = describe(&stream, rank, &ranked);
    details.push(detail("state", "freed when a window closes"));
    let single = rank.function == RankFunction::RowNumber && ranked.range == RankRange { from: 1, to: 1 };
    let name = if single { "WindowDeduplicate" } else { "WindowTopN" };
    add_final(
        translator,
        stream,
        rank,
        ranked,
        Final { name, operator: Arc::new(operator), schema, details, finds_late: true },
    )
}

/// An operator whose rows are never taken back.
struct Final {
    name: &'static str,
    operator: Arc<dyn OperatorFactory>,
    schema: Arc<Schema>,
    details: Details,
    finds_late: bool,
}

fn add_final(
    translator: &mut Translator<'_>,
    stream: Stream,
    rank: &PendingRank,
    ranked: Ranked,
    final_rows: Final,
) -> Result<Stream> {
    let Final { name, operator, schema, details, finds_late } = final_rows;
    let (exchange, parallelism) = by_key(&rank.partition_by);
    let mut draft = operator_draft(name, operator, &stream, Arc::clone(&schema), details);
    draft.inputs[0].exchange = reachable(exchange, stream.parallelism);
    draft.parallelism = parallelism;
    draft.state_signature = Some(signature(&stream, rank, &ranked, false));
    let node = translator.graph.add(draft);
    if finds_late {
        late::register(translator, &stream, node, parallelism);
    }
    let output = Stream::of(node, schema, parallelism, ChangelogMode::Append, stream.bounded);
    ranked.behind(stream, output)
}

fn state_note(updated: bool, parallelism: Parallelism, ttl_ms: Option<i64>) -> String {
    let kept = if updated { "all rows" } else { "the rows in range" };
    match (parallelism, ttl_ms) {
        (_, Some(ttl)) => format!("{kept}; a partition is forgotten {} after its last row", describe_ms(ttl)),
        (Parallelism::One, None) if !updated => kept.to_owned(),
        (Parallelism::One, None) => format!("{kept}: set table.exec.state.ttl to bound it"),
        (_, None) => format!("{kept} of each partition: set table.exec.state.ttl to bound it"),
    }
}

fn describe(stream: &Stream, rank: &PendingRank, ranked: &Ranked) -> Details {
    let mut details = vec![detail("rank", describe_range(rank.function, ranked.range))];
    details.extend(ranked.bound.map(|bound| detail("at most", stream.base.field(bound).name())));
    if !rank.partition_by.is_empty() {
        details.push(detail("partition by", names(&stream.base, &rank.partition_by)));
    }
    if !rank.order_by.is_empty() {
        details.push(detail("order by", describe_order(&stream.base, &rank.order_by)));
    }
    details
}

fn describe_range(function: RankFunction, range: RankRange) -> String {
    let name = function.name();
    match (range.from, range.to) {
        (from, to) if from == to => format!("{name} = {to}"),
        (1, u64::MAX) => name.to_owned(),
        (from, u64::MAX) => format!("{name} >= {from}"),
        (1, to) => format!("{name} <= {to}"),
        (from, to) => format!("{name} BETWEEN {from} AND {to}"),
    }
}

/// `price DESC, ts`.
pub(super) fn describe_order(schema: &Schema, order: &[SortColumn]) -> String {
    let described = order.iter().map(|sort| {
        let name = schema.field(sort.column).name();
        let direction = if sort.descending { " DESC" } else { "" };
        let nulls = match (sort.descending, sort.nulls_first) {
            (false, false) => " NULLS LAST",
            (true, true) => " NULLS FIRST",
            _ => "",
        };
        format!("{name}{direction}{nulls}")
    });
    described.collect::<Vec<_>>().join(", ")
}

fn signature(stream: &Stream, rank: &PendingRank, ranked: &Ranked, updated: bool) -> String {
    let sorted: Vec<usize> = rank.order_by.iter().map(|sort| sort.column).collect();
    let bound = ranked.bound.map_or(String::new(), |bound| format!(" up to [{}]", typed_names(&stream.base, &[bound])));
    format!(
        "{}{bound}{}; keys [{}]; order {:?} {} [{}]; rows of {}{}",
        describe_range(rank.function, ranked.range),
        if ranked.with_rank { " with number" } else { "" },
        typed_names(&stream.base, &rank.partition_by),
        rank.order,
        describe_order(&stream.base, &rank.order_by),
        typed_names(&stream.base, &sorted),
        typed_names(&stream.base, &ranked.kept),
        if updated { "; updated" } else { "" },
    )
}
