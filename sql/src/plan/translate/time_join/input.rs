//! The inputs of a join over time: settled, with their keys as columns, and the way back to the plan's columns.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, JoinType, Result};
use datafusion_expr::{Expr, Join, LogicalPlan};
use tidemill_engine::graph::{ChangelogMode, Input, NodeId, NodeKind, Parallelism};
use tidemill_engine::operator::{OperatorFactory, SIDE_PORT, SIDE_PORT_RIGHT};
use tidemill_engine::operators::join_rows::{JoinInput, joined_schema};

use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::graph_builder::{NodeDraft, detail};
use crate::plan::physical::{Physical, all_of, column, column_index, identity, substitute};
use crate::plan::stream::Stream;
use crate::plan::translate::calc::plain_schema;
use crate::plan::translate::settle::{Details, by_key, names, reachable, typed_names};
use crate::plan::translate::{Translator, late};

/// A join's inputs and what it gives, whichever node it is.
pub(super) struct JoinShape<'a> {
    pub left: &'a LogicalPlan,
    pub right: &'a LogicalPlan,
    pub kind: JoinType,
    pub schema: &'a DFSchema,
}

impl<'a> JoinShape<'a> {
    pub fn of(join: &'a Join) -> Self {
        Self { left: &join.left, right: &join.right, kind: join.join_type, schema: &join.schema }
    }
}

/// Both inputs of a join, ready for an operator.
pub(super) struct Inputs {
    pub sides: [Stream; 2],
    /// Columns that must be equal.
    pub keys: [Vec<usize>; 2],
    /// So many columns of each side are the plan's; keys that are no columns of it stand behind.
    visible: [usize; 2],
}

impl Inputs {
    /// `kind` names the join in a refusal: `an interval join`. `updates`: which sides may be updated later.
    pub fn new(
        translator: &mut Translator<'_>,
        join: &JoinShape<'_>,
        equal: &[(Expr, Expr)],
        kind: &str,
        updates: [bool; 2],
    ) -> Result<Self> {
        let of_side = |translator: &mut Translator<'_>, plan: &LogicalPlan, keys: Vec<&Expr>, side: usize| {
            let input = translator.translate(plan)?;
            if input.changelog != ChangelogMode::Append && !updates[side] {
                let name = ["left", "right"][side];
                let message = format!("{kind} cannot take rows that are updated later, as its {name} input does");
                let hint = "group by a window so that rows are final, or join without the condition on time";
                return Err(external(Diagnostic::new(message).with_hint(hint)));
            }
            with_keys(translator, input, plan, &keys)
        };
        let left_keys = equal.iter().map(|(left, _)| left).collect();
        let (left, left_keys, left_visible) = of_side(translator, join.left, left_keys, 0)?;
        let right_keys = equal.iter().map(|(_, right)| right).collect();
        let (right, right_keys, right_visible) = of_side(translator, join.right, right_keys, 1)?;
        Ok(Self { sides: [left, right], keys: [left_keys, right_keys], visible: [left_visible, right_visible] })
    }

    pub fn join_inputs(&self) -> [JoinInput; 2] {
        let of = |side: usize| JoinInput { schema: Arc::clone(&self.sides[side].base), keys: self.keys[side].clone() };
        [of(0), of(1)]
    }

    /// What an operator that joins these inputs gives.
    pub fn joined(&self, kind: JoinType) -> SchemaRef {
        joined_schema(kind, &self.sides[0].base, &self.sides[1].base)
    }

    fn width(&self, side: usize) -> usize {
        self.sides[side].base.fields().len()
    }

    fn columns(&self) -> Vec<Physical> {
        pair_columns([&self.sides[0].base, &self.sides[1].base], self.visible)
    }

    /// All of these conditions over the plan's left and right columns, over both inputs side by side.
    pub fn condition(
        &self,
        translator: &Translator<'_>,
        join: &JoinShape<'_>,
        parts: &[Expr],
    ) -> Result<Option<Physical>> {
        pair_condition(translator, join, parts, &self.columns())
    }

    /// `left key = right key, ...` for EXPLAIN.
    pub fn describe_keys(&self) -> Option<(String, String)> {
        let [left, right] = &self.keys;
        let name = |side: usize, index: usize| self.sides[side].base.field(index).name();
        let pairs = left.iter().zip(right).map(|(left, right)| format!("{} = {}", name(0, *left), name(1, *right)));
        let pairs: Vec<String> = pairs.collect();
        (!pairs.is_empty()).then(|| detail("keys", pairs.join(", ")))
    }

    /// What a restored state must agree with.
    pub fn signature(&self, kind: JoinType) -> String {
        let side = |side: usize| {
            let all: Vec<usize> = (0..self.width(side)).collect();
            let (keys, schema) = (&self.keys[side], &self.sides[side].base);
            format!("[{}] by [{}]", typed_names(schema, &all), names(schema, keys))
        };
        format!("{kind} join of {} and {}", side(0), side(1))
    }

    /// Adds the join and gives the plan's columns of its output.
    pub fn add(
        self,
        translator: &mut Translator<'_>,
        join: &JoinShape<'_>,
        name: &str,
        operator: Arc<dyn OperatorFactory>,
        details: Details,
        signature: String,
    ) -> Stream {
        let schema = self.joined(join.kind);
        let parallelism = if self.keys[0].is_empty() { Parallelism::One } else { Parallelism::Job };
        let edge = |side: usize| {
            let (exchange, _) = by_key(&self.keys[side]);
            let stream = &self.sides[side];
            Input { from: stream.node, port: stream.port, exchange: reachable(exchange, stream.parallelism) }
        };
        let node = translator.graph.add(NodeDraft {
            uid: uid_of(name),
            name: name.to_owned(),
            kind: NodeKind::Operator(operator),
            inputs: vec![edge(0), edge(1)],
            parallelism,
            schema: Arc::clone(&schema),
            changelog: ChangelogMode::Append,
            details,
            state_signature: Some(signature),
        });
        self.register_late(translator, node, parallelism);
        let [left, right] = &self.sides;
        let bounded = left.bounded && right.bounded;
        let steady = left.steady && right.steady;
        let output = plain_schema(join.schema);
        let mut columns = self.columns();
        columns.truncate(output.fields().len());
        let stream = Stream::of(node, schema, parallelism, ChangelogMode::Append, bounded);
        Stream { columns, schema: output, steady, ..stream }
    }

    fn register_late(&self, translator: &mut Translator<'_>, node: NodeId, parallelism: Parallelism) {
        for (stream, port) in self.sides.iter().zip([SIDE_PORT, SIDE_PORT_RIGHT]) {
            late::register_port(translator, stream, node, port, parallelism);
        }
    }
}

/// A plan's left and right columns, as columns of both inputs side by side. Of each input the first `visible` are the
/// plan's.
pub(super) fn pair_columns(bases: [&SchemaRef; 2], visible: [usize; 2]) -> Vec<Physical> {
    let of_side = |side: usize, first: usize| {
        let fields = bases[side].fields().iter().take(visible[side]).enumerate();
        fields.map(move |(index, field)| column(field.name(), first + index))
    };
    of_side(0, 0).chain(of_side(1, bases[0].fields().len())).collect()
}

/// All of these conditions over the plan's left and right columns, which are computed by `columns`.
pub(super) fn pair_condition(
    translator: &Translator<'_>,
    join: &JoinShape<'_>,
    parts: &[Expr],
    columns: &[Physical],
) -> Result<Option<Physical>> {
    let schema: DFSchema = join.left.schema().join(join.right.schema())?;
    let over = parts.iter().map(|part| substitute(&translator.expr(part, &schema)?, columns));
    Ok(all_of(&over.collect::<Result<Vec<_>>>()?))
}

/// `IntervalJoin` becomes `interval-join`.
fn uid_of(name: &str) -> String {
    name.strip_suffix("Join").map_or_else(|| name.to_lowercase(), |kind| format!("{}-join", kind.to_lowercase()))
}

/// The stream settled, with these expressions among its columns; where they stand; and how many columns are the plan's.
pub(super) fn with_keys(
    translator: &mut Translator<'_>,
    input: Stream,
    plan: &LogicalPlan,
    keys: &[&Expr],
) -> Result<(Stream, Vec<usize>, usize)> {
    let exprs = keys.iter().map(|key| translator.expr(key, plan.schema())).collect::<Result<Vec<_>>>()?;
    let input = if input.repeats_work(&exprs) { translator.settle(input)? } else { input };
    let visible = input.schema.fields().len();
    let mut columns = identity(&input.schema);
    let mut fields: Vec<_> = input.schema.fields().iter().cloned().collect();
    let mut places = Vec::new();
    for expr in exprs {
        let known = columns.iter().position(|column| column.as_ref() == expr.as_ref());
        let place = column_index(&expr).or(known).unwrap_or_else(|| {
            columns.push(Arc::clone(&expr));
            columns.len() - 1
        });
        if place == fields.len() {
            fields.push(Arc::new(Field::new(display(&expr), expr.data_type(&input.schema)?, true)));
        }
        places.push(place);
    }
    let input = input.project(columns, Arc::new(Schema::new(fields)))?;
    Ok((translator.settle(input)?, places, visible))
}
