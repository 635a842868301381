//! Temporal joins: each left row with the version of a right row that holds at its time.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::Expr;
use tidemill_engine::operators::temporal_join::TemporalJoin;
use tidemill_engine::time::window::TimeDomain;

use super::input::{Inputs, JoinShape};
use super::lookup;
use super::reference::Reference;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::temporal::TemporalNode;
use crate::plan::stream::Stream;
use crate::plan::temporal::without_key;
use crate::plan::time_join::JoinCondition;
use crate::plan::translate::Translator;

pub(super) fn add(translator: &mut Translator<'_>, node: &TemporalNode) -> Result<Stream> {
    if node.domain == TimeDomain::Processing
        && !node.keeps_last
        && let Some(table) = Reference::of(translator, &node.right)?
    {
        return lookup::add(translator, node, table);
    }
    if node.hint.is_some() {
        return Err(external(lookup::no_questions(&node.table)));
    }
    if node.key.is_empty() {
        return Err(external(without_key(&node.table)));
    }
    let shape = JoinShape { left: &node.left, right: &node.right, kind: node.kind, schema: &node.schema };
    let (equal, other) = by_key(node)?;
    let inputs = Inputs::new(translator, &shape, &equal, "a temporal join", [false, true])?;
    let place = |side: usize, expr: &Expr| -> Result<usize> {
        let plan = [&node.left, &node.right][side];
        let index = expr.try_as_col().and_then(|column| plan.schema().maybe_index_of_column(column));
        index.ok_or_else(|| external(Diagnostic::new("the time of a temporal join was lost in planning")))
    };
    let time = place(0, &node.time)?;
    let version = node.version.as_ref().map(|version| place(1, version)).transpose()?;
    let condition = inputs.condition(translator, &shape, &other)?;
    let name = |side: usize, index: usize| inputs.sides[side].base.field(index).name().clone();
    let as_of = match version {
        Some(version) => format!("{} of the version that holds at {}", name(1, version), name(0, time)),
        None => "the version that is there when the row comes".to_owned(),
    };
    let mut details = vec![detail("type", node.kind.to_string().to_uppercase()), detail("as of", &as_of)];
    details.extend(inputs.describe_keys());
    details.extend(condition.as_ref().map(|condition| detail("where", display(condition))));
    details.push(detail("state", describe_state(node.domain)));
    let residual = condition.as_ref().map_or(String::new(), |condition| format!("; where {}", display(condition)));
    let signature = format!("{}; {as_of}{residual}", inputs.signature(node.kind));
    let operator = TemporalJoin {
        kind: node.kind,
        domain: node.domain,
        inputs: inputs.join_inputs(),
        times: [time, version.unwrap_or_default()],
        condition,
        schema: inputs.joined(node.kind),
    };
    Ok(inputs.add(translator, &shape, "TemporalJoin", Arc::new(operator), details, signature))
}

fn describe_state(domain: TimeDomain) -> &'static str {
    match domain {
        TimeDomain::Event => {
            "rows of the left input until the watermark passes them; by key, the newest version at the watermark and later ones"
        }
        TimeDomain::Processing => "by key, the newest version",
    }
}

type Pairs = Vec<(Expr, Expr)>;

/// The equalities with the right table's primary key, and every other part of the condition.
fn by_key(node: &TemporalNode) -> Result<(Pairs, Vec<Expr>)> {
    let condition = JoinCondition::split(Vec::new(), &node.condition, [node.left.schema(), node.right.schema()]);
    let (mut equal, mut other) = (Pairs::new(), condition.other);
    let mut missing: Vec<&Expr> = node.key.iter().collect();
    for (left, right) in condition.equal {
        match missing.iter().position(|key| *key == uncast(&right)) {
            Some(index) => {
                missing.remove(index);
                equal.push((left, right));
            }
            None => other.push(left.eq(right)),
        }
    }
    if missing.is_empty() {
        return Ok((equal, other));
    }
    let names = |keys: Vec<&Expr>| {
        let names = keys.into_iter().filter_map(|key| key.try_as_col().map(|column| column.name.clone()));
        names.collect::<Vec<_>>().join(", ")
    };
    let message = format!("a temporal join must compare the whole primary key: {} is missing", names(missing));
    let hint = format!("the key is ({}): add its columns to ON", names(node.key.iter().collect()));
    Err(external(Diagnostic::new(message).with_hint(hint)))
}

/// A key that is compared in a wider type is the same key.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => uncast(&cast.expr),
        other => other,
    }
}
