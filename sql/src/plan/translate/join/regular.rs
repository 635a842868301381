//! Joins whose rows wait for each other without end: inner, outer, semi, anti and cross joins.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion_common::Result;
use datafusion_expr::expr::Case;
use datafusion_expr::{Expr, Join, JoinType, LogicalPlan, lit};
use tidemill_engine::graph::{ChangelogMode, NodeKind, Parallelism};
use tidemill_engine::operators::join::{Alone, JoinInput, Lifetime, RegularJoin, RowKey};

use super::condition::{JoinCondition, JoinKey, reads_only};
use crate::plan::display::display;
use crate::plan::graph_builder::{NodeDraft, detail};
use crate::plan::keys;
use crate::plan::nodes::window::describe_ms;
use crate::plan::physical::{self, Physical, column, column_index, substitute};
use crate::plan::stream::Stream;
use crate::plan::time_join::lifetimes;
use crate::plan::translate::settle::{Details, by_key, names, reachable, typed_names};
use crate::plan::translate::{Translator, plain_schema};
use crate::plan::unstable::Unstable;

pub(super) fn translate(
    translator: &mut Translator<'_>,
    join: &Join,
    condition: &JoinCondition,
) -> Option<Result<Stream>> {
    let condition = one_sided_as_keys(condition, join);
    Some(regular(translator, join, &condition, Shape::of(join.join_type)))
}

/// What one side alone decides becomes a key that is NULL where it does not hold: such rows fit nothing, and need
/// neither be tried with others nor kept.
fn one_sided_as_keys(condition: &JoinCondition, join: &Join) -> JoinCondition {
    let mut keys = condition.keys.clone();
    let mut rest = Vec::new();
    for part in &condition.rest {
        let holds = Expr::Case(Case::new(None, vec![(Box::new(part.clone()), Box::new(lit(true)))], None));
        let key = match (reads_only(part, join.left.schema()), reads_only(part, join.right.schema())) {
            (true, _) => JoinKey { left: holds, right: lit(true), null_fits_null: false },
            (_, true) => JoinKey { left: lit(true), right: holds, null_fits_null: false },
            _ => {
                rest.push(part.clone());
                continue;
            }
        };
        keys.push(key);
    }
    JoinCondition { keys, rest }
}

/// What a type of join gives.
struct Shape {
    name: &'static str,
    alone: [Option<Alone>; 2],
    pairs: bool,
}

impl Shape {
    fn of(join_type: JoinType) -> Self {
        let shape = |name, left, right, pairs| Self { name, alone: [left, right], pairs };
        let (unmatched, matched, marked) = (Some(Alone::Unmatched), Some(Alone::Matched), Some(Alone::Marked));
        match join_type {
            JoinType::Inner => shape("inner", None, None, true),
            JoinType::Left => shape("left", unmatched, None, true),
            JoinType::Right => shape("right", None, unmatched, true),
            JoinType::Full => shape("full", unmatched, unmatched, true),
            JoinType::LeftSemi => shape("semi", matched, None, false),
            JoinType::LeftAnti => shape("anti", unmatched, None, false),
            JoinType::RightSemi => shape("right semi", None, matched, false),
            JoinType::RightAnti => shape("right anti", None, unmatched, false),
            JoinType::LeftMark => shape("mark", marked, None, false),
            JoinType::RightMark => shape("right mark", None, marked, false),
        }
    }

    /// Which sides' columns are given.
    fn gives(&self) -> [bool; 2] {
        self.alone.map(|alone| self.pairs || alone.is_some())
    }

    /// A column behind the others says which rows fit.
    fn marks(&self) -> bool {
        self.alone.contains(&Some(Alone::Marked))
    }

    fn changelog(&self, inputs: &[Side; 2]) -> ChangelogMode {
        let appends = inputs.iter().all(|side| side.stream.changelog == ChangelogMode::Append);
        let adds_only = self.alone.iter().flatten().all(|alone| *alone == Alone::Matched);
        if appends && adds_only { ChangelogMode::Append } else { ChangelogMode::Retract }
    }
}

/// One input, settled: its columns, then those of its keys that had to be computed.
struct Side {
    stream: Stream,
    keys: Vec<usize>,
    /// Columns that the logical plan knows.
    width: usize,
    row_key: RowKey,
    lifetime: Option<Lifetime>,
}

impl Side {
    fn of(translator: &mut Translator<'_>, plan: &LogicalPlan, keys: &[&Expr]) -> Result<Self> {
        let (input, schema) = (translator.translate(plan)?, plan.schema());
        let width = input.schema.fields().len();
        let mut columns = physical::identity(&input.schema);
        let mut fields: Vec<Arc<Field>> = input.schema.fields().iter().cloned().collect();
        let mut places = Vec::new();
        for key in keys {
            let key = translator.expr(key, schema)?;
            places.push(match column_index(&key) {
                Some(index) => index,
                None => {
                    fields.push(Arc::new(Field::new(display(&key), key.data_type(&input.schema)?, true)));
                    columns.push(key);
                    columns.len() - 1
                }
            });
        }
        let input = if input.repeats_work(&columns) { translator.settle(input)? } else { input };
        let schema = Arc::new(Schema::new(fields));
        let stream = translator.settle(Stream { whole_row: None, ..input }.project(columns, schema)?)?;
        let row_key = row_key(plan, stream.changelog, &places);
        Ok(Self { stream, keys: places, width, row_key, lifetime: None })
    }

    fn base(&self) -> &SchemaRef {
        &self.stream.base
    }
}

/// What tells the rows of an input with the same join key apart.
fn row_key(plan: &LogicalPlan, changelog: ChangelogMode, joined_by: &[usize]) -> RowKey {
    if changelog == ChangelogMode::Append {
        return RowKey::Arrival;
    }
    let unique = keys::of_plan(plan);
    if unique.iter().any(|key| key.iter().all(|column| joined_by.contains(column))) {
        return RowKey::JoinKey;
    }
    let smallest = unique.into_iter().next();
    smallest.map_or(RowKey::WholeRow, |key| RowKey::Columns(key.into_iter().collect()))
}

fn regular(translator: &mut Translator<'_>, join: &Join, condition: &JoinCondition, shape: Shape) -> Result<Stream> {
    let left_keys: Vec<&Expr> = condition.keys.iter().map(|key| &key.left).collect();
    let right_keys: Vec<&Expr> = condition.keys.iter().map(|key| &key.right).collect();
    let mut sides = [Side::of(translator, &join.left, &left_keys)?, Side::of(translator, &join.right, &right_keys)?];
    let is_forgotten_otherwise = translator.resolver.context.settings.state_ttl().is_some();
    if !is_forgotten_otherwise && sides.iter().all(|side| side.row_key == RowKey::Arrival) {
        sides.iter_mut().zip(lifetimes(join)).for_each(|(side, lifetime)| side.lifetime = lifetime);
    }
    let is_bounded = sides.iter().all(|side| side.stream.bounded);
    translator.note_endless_join(join, sides.each_ref().map(|side| side.lifetime.is_some()), is_bounded)?;
    let rest = rest_of(translator, join, condition, &sides)?;
    Unstable::check_joined(rest.as_ref(), [&sides[0].stream, &sides[1].stream])?;
    let null_fits_null = condition.keys.iter().map(|key| key.null_fits_null).collect();
    let output = add_node(translator, &sides, shape, null_fits_null, rest)?;
    Ok(Stream { schema: plain_schema(&join.schema), ..output })
}

/// What must hold beside the keys, over the columns of both inputs as the operator sees them.
fn rest_of(
    translator: &Translator<'_>,
    join: &Join,
    condition: &JoinCondition,
    sides: &[Side; 2],
) -> Result<Option<Physical>> {
    let schema = join.left.schema().join(join.right.schema())?;
    let parts = condition.rest.iter().map(|part| translator.expr(part, &schema)).collect::<Result<Vec<_>>>()?;
    let [left, right] = sides;
    let left_columns = (0..left.width).map(|index| (left, index, index));
    let right_columns = (0..right.width).map(|index| (right, index, left.base().fields().len() + index));
    let place = |(side, own, joined): (&Side, usize, usize)| column(side.base().field(own).name(), joined);
    let places: Vec<Physical> = left_columns.chain(right_columns).map(place).collect();
    let parts = parts.iter().map(|part| substitute(part, &places)).collect::<Result<Vec<_>>>()?;
    Ok(physical::all_of(&parts))
}

fn add_node(
    translator: &mut Translator<'_>,
    sides: &[Side; 2],
    shape: Shape,
    null_fits_null: Vec<bool>,
    condition: Option<Physical>,
) -> Result<Stream> {
    let ttl_ms = translator.resolver.context.settings.state_ttl().map(|ttl| ttl.as_millis() as i64);
    let schema = output_schema(&shape, sides);
    let details = details(&shape, sides, condition.as_ref(), ttl_ms);
    let changelog = shape.changelog(sides);
    let parallelism = by_key(&sides[0].keys).1;
    let inputs = sides.iter().map(|side| tidemill_engine::graph::Input {
        from: side.stream.node,
        port: side.stream.port,
        exchange: reachable(by_key(&side.keys).0, side.stream.parallelism),
    });
    let inputs = inputs.collect();
    let signature = signature(&shape, sides, &null_fits_null, condition.as_ref());
    let input = |number: usize| JoinInput {
        keys: sides[number].keys.clone(),
        schema: Arc::clone(sides[number].base()),
        row_key: sides[number].row_key.clone(),
        alone: shape.alone[number],
        lifetime: sides[number].lifetime,
    };
    let operator = RegularJoin {
        inputs: [input(0), input(1)],
        null_fits_null,
        condition,
        pairs: shape.pairs,
        ttl_ms,
        on_error: translator.row_errors(),
        schema: Arc::clone(&schema),
    };
    let node = translator.graph.add(NodeDraft {
        uid: "join".into(),
        name: "Join".into(),
        kind: NodeKind::Operator(Arc::new(operator)),
        inputs,
        parallelism,
        schema: Arc::clone(&schema),
        changelog,
        details,
        state_signature: Some(signature),
    });
    Ok(output(node, schema, &shape, sides, parallelism, changelog))
}

/// The columns of the sides that are given, and the mark; those of a side that may be missing can be NULL.
fn output_schema(shape: &Shape, sides: &[Side; 2]) -> SchemaRef {
    let mut fields = Vec::new();
    for number in (0..2).filter(|number| shape.gives()[*number]) {
        let may_miss = shape.pairs && shape.alone[1 - number].is_some();
        let own = sides[number].base().fields().iter();
        fields.extend(own.map(|field| field.as_ref().clone().with_nullable(field.is_nullable() || may_miss)));
    }
    fields.extend(shape.marks().then(|| Field::new("mark", DataType::Boolean, false)));
    Arc::new(Schema::new(Fields::from(fields)))
}

/// The node's columns without the computed keys.
fn output(
    node: tidemill_engine::graph::NodeId,
    schema: SchemaRef,
    shape: &Shape,
    sides: &[Side; 2],
    parallelism: Parallelism,
    changelog: ChangelogMode,
) -> Stream {
    let mut columns = Vec::new();
    let mut first = 0;
    for number in (0..2).filter(|number| shape.gives()[*number]) {
        columns.extend((first..first + sides[number].width).map(|index| column(schema.field(index).name(), index)));
        first += sides[number].base().fields().len();
    }
    columns.extend(shape.marks().then(|| column("mark", first)));
    let bounded = sides.iter().all(|side| side.stream.bounded);
    let steady = sides.iter().all(|side| side.stream.steady);
    Stream { columns, steady, ..Stream::of(node, schema, parallelism, changelog, bounded) }
}

fn details(shape: &Shape, sides: &[Side; 2], condition: Option<&Physical>, ttl_ms: Option<i64>) -> Details {
    let [left, right] = sides;
    let mut details = vec![detail("type", shape.name)];
    match left.keys.is_empty() {
        true => details.push(detail("on", "no equality: one instance tries every row with every other")),
        false => {
            let keys = [left, right].map(|side| names(side.base(), &side.keys));
            details.push(detail("on", format!("{} = {}", keys[0], keys[1])));
        }
    }
    details.extend(condition.map(|condition| detail("where", display(condition))));
    let freed = match ttl_ms {
        Some(ttl) => format!("a row is forgotten {} after its last change", describe_ms(ttl)),
        None => freed_by_time(sides),
    };
    let kept = match [left, right].map(|side| &side.row_key) {
        [RowKey::WholeRow | RowKey::Arrival, RowKey::WholeRow | RowKey::Arrival] => {
            "the rows of both inputs by key".into()
        }
        _ => format!("left {}, right {}", kept_rows(left), kept_rows(right)),
    };
    details.push(detail("state", format!("{kept}; {freed}")));
    details
}

/// When rows are freed without a time to live.
fn freed_by_time(sides: &[Side; 2]) -> String {
    let freed = |side: &Side, name: &str, other: &str| {
        side.lifetime.map(|Lifetime { time, after_ms }| {
            let time = side.base().field(time).name();
            let length = describe_ms(after_ms.abs());
            let until = match after_ms.signum() {
                0 => time.clone(),
                1 => format!("{time} + {length}"),
                _ => format!("{time} - {length}"),
            };
            format!("{name} rows are freed when time at the {other} input reaches {until}")
        })
    };
    let never = |name: &str| format!("{name} rows are never freed: set table.exec.state.ttl to bound them");
    let [left, right] = sides;
    match (freed(left, "left", "right"), freed(right, "right", "left")) {
        (None, None) => "it is never freed: set table.exec.state.ttl to bound it".into(),
        (left, right) => {
            let sides = [left.unwrap_or_else(|| never("left")), right.unwrap_or_else(|| never("right"))];
            sides.join("; ")
        }
    }
}

fn kept_rows(side: &Side) -> String {
    match &side.row_key {
        RowKey::JoinKey => "one row per key".into(),
        RowKey::Columns(columns) => format!("rows per key by {}", names(side.base(), columns)),
        RowKey::WholeRow | RowKey::Arrival => "rows per key".into(),
    }
}

fn signature(shape: &Shape, sides: &[Side; 2], null_fits_null: &[bool], condition: Option<&Physical>) -> String {
    let side = |side: &Side| {
        let all: Vec<usize> = (0..side.base().fields().len()).collect();
        let (rows, keys) = (typed_names(side.base(), &all), names(side.base(), &side.keys));
        let kept_by = match &side.row_key {
            RowKey::JoinKey => "nothing else".into(),
            RowKey::Columns(columns) => names(side.base(), columns),
            RowKey::WholeRow => "a hash of all columns".into(),
            RowKey::Arrival => "order of arrival".into(),
        };
        // How long a row is needed is no matter of what state looks like, but by what spans it is kept.
        let spans =
            side.lifetime.map(|Lifetime { time, after_ms }| format!(" in spans of {after_ms} by column {time}"));
        format!("rows of {rows}; keys [{keys}]; kept by side, key and {kept_by}{}", spans.unwrap_or_default())
    };
    let condition = condition.map(display).unwrap_or_default();
    let [left, right] = sides;
    format!(
        "{} join; left {}; right {}; NULL fits {null_fits_null:?}; {condition}",
        shape.name,
        side(left),
        side(right)
    )
}
