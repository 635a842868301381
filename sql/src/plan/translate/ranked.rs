//! ROW_NUMBER, RANK and DENSE_RANK with conditions on the number: deduplication and Top-N.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{Result, ScalarValue};
use datafusion_physical_expr::expressions::Literal;
use tidemill_engine::graph::{ChangelogMode, Parallelism};
use tidemill_engine::operator::OperatorFactory;
use tidemill_engine::operators::ordering::{RankFunction, RankRange, SortColumn};
use tidemill_engine::operators::top_n::{Order, TopN};

use super::Translator;
use super::settle::{Details, by_key, names, operator_draft, reachable, typed_names};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_ms;
use crate::plan::over_window::OverOrder;
use crate::plan::physical::{Physical, column, columns_read, substitute};
use crate::plan::rank_filter;
use crate::plan::stream::{PendingRank, Stream};

/// Name of the rank's column in the operator's output.
const RANK: &str = "rank";

impl Translator<'_> {
    /// Numbers the rows of a stream with a pending rank, now that all conditions on it are known.
    pub fn resolve_rank(&mut self, mut stream: Stream) -> Result<Stream> {
        let Some(rank) = stream.rank.take() else { return Ok(stream) };
        let (bounds, rest) = rank_filter::bounds(&stream.conjuncts, stream.base.fields().len());
        let name = rank.function.name();
        let Some(to) = bounds.to else { return Err(external(unlimited(name))) };
        if to < bounds.from {
            let message = format!("{name}() OVER: no row has a number from {} to {to}", bounds.from);
            return Err(external(Diagnostic::new(message).with_hint("numbers start at 1")));
        }
        stream.conjuncts = rest;
        let range = RankRange { from: bounds.from as u64, to: to as u64 };
        let ranked = Ranked::new(&stream, &rank, range);
        match rank.order {
            OverOrder::Newest | OverOrder::Rows => add_top_n(self, stream, &rank, ranked),
            OverOrder::Time(_) | OverOrder::Window(_) => Err(external(unlimited(name))),
        }
    }
}

fn unlimited(name: &str) -> Diagnostic {
    let message = format!("{name}() OVER numbers all rows: each new row would change the numbers of those behind it");
    Diagnostic::new(message).with_hint(
        "say how many are wanted: SELECT ... FROM (SELECT ..., ROW_NUMBER() OVER (...) AS n FROM ...) WHERE n <= 10, or QUALIFY",
    )
}

/// What a ranking operator keeps and gives.
struct Ranked {
    range: RankRange,
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
        Self { range, kept, with_rank }
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
        Ok(Stream { columns, conjuncts, schema: stream.schema, steady: stream.steady, ..output })
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
    let name = if single { "Deduplicate" } else { "TopN" };
    let mut details = describe(&stream, rank, &ranked);
    details.push(detail("state", state_note(updated, parallelism, ttl_ms)));
    let signature = signature(&stream, rank, &ranked, updated);
    let operator = TopN {
        keys: rank.partition_by.clone(),
        order,
        function: rank.function,
        range: ranked.range,
        kept: ranked.kept.clone(),
        with_rank: ranked.with_rank,
        updated,
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
    format!(
        "{}{}; keys [{}]; order {:?} {} [{}]; rows of {}{}",
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
