//! Lookup joins: each row with the rows that a table outside of the streams has when it comes.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::{BinaryExpr, Expr, Operator};
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::lookup::{Access, KeyAccess, KeyedLookup, Lookup, LookupPolicy, MissRetry};
use tidemill_engine::operators::join_rows::{JoinInput, joined_schema};
use tidemill_engine::operators::lookup_join::LookupJoin;

use super::input::{JoinShape, pair_columns, pair_condition, with_keys};
use super::reference::{Origin, Reference};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::temporal::TemporalNode;
use crate::plan::nodes::window::describe_ms;
use crate::plan::stream::Stream;
use crate::plan::time_join::JoinCondition;
use crate::plan::translate::Translator;
use crate::plan::translate::calc::plain_schema;
use crate::plan::translate::settle::{Details, operator_draft, typed_names};
use crate::window_call::LookupHint;

/// There is nothing that a hint could be about.
pub(super) fn no_questions(table: &str) -> Diagnostic {
    Diagnostic::new(format!("the hint LOOKUP is for tables that are asked by key, which `{table}` is not"))
        .with_hint("leave it out")
}

/// How the condition is met: by keys, and by what is left to be asked of the rows that have them.
struct Matching {
    lookup: Arc<dyn Lookup>,
    policy: LookupPolicy,
    /// Over the left plan.
    left_keys: Vec<Expr>,
    /// Columns of the reference; none where the keys are the connector's business.
    right_keys: Vec<usize>,
    /// What the left keys are compared with.
    key_names: Vec<String>,
    other: Vec<Expr>,
    details: Details,
}

pub(super) fn add(translator: &mut Translator<'_>, node: &TemporalNode, mut table: Reference) -> Result<Stream> {
    let shape = JoinShape { left: &node.left, right: &node.right, kind: node.kind, schema: &node.schema };
    let condition = JoinCondition::split(Vec::new(), &node.condition, [node.left.schema(), node.right.schema()]);
    let visible = table.schema.fields().len();
    let input = translator.translate(&node.left)?;
    if input.changelog != ChangelogMode::Append {
        let message = "a lookup join cannot take rows that are updated later: what is there may have changed by then";
        let hint = "group by a window so that rows are final";
        return Err(external(Diagnostic::new(message).with_hint(hint)));
    }
    let matching = match &table.origin {
        Origin::Whole { reload_interval_ms, .. } => {
            let interval = *reload_interval_ms;
            match_whole(translator, node, &mut table, condition, interval)?
        }
        Origin::ByKey { .. } => match_by_key(translator, node, &table, condition)?,
    };
    let (input, left_places, left_visible) =
        with_keys(translator, input, &node.left, &matching.left_keys.iter().collect::<Vec<_>>())?;
    let bases = [&input.base, &table.schema];
    let columns = pair_columns(bases, [left_visible, visible]);
    let condition = pair_condition(translator, &shape, &matching.other, &columns)?;
    let schema = joined_schema(node.kind, &input.base, &table.schema);
    let pairs = left_places.iter().zip(&matching.key_names);
    let pairs = pairs.map(|(left, right)| format!("{} = {right}", input.base.field(*left).name()));
    let mut details = vec![
        detail("type", node.kind.to_string().to_uppercase()),
        detail("table", &table.table),
        detail("keys", pairs.collect::<Vec<_>>().join(", ")),
    ];
    details.extend(condition.as_ref().map(|condition| detail("where", display(condition))));
    details.extend(matching.details);
    details.push(detail("state", "rows whose answers are under way; freed when they are there"));
    let all: Vec<usize> = (0..input.base.fields().len()).collect();
    let signature = format!("rows in flight of [{}]", typed_names(&input.base, &all));
    let operator = LookupJoin {
        kind: node.kind,
        inputs: [
            JoinInput { schema: Arc::clone(&input.base), keys: left_places },
            JoinInput { schema: Arc::clone(&table.schema), keys: matching.right_keys },
        ],
        lookup: matching.lookup,
        policy: matching.policy,
        condition,
        schema: Arc::clone(&schema),
    };
    let mut draft = operator_draft("LookupJoin", Arc::new(operator), &input, Arc::clone(&schema), details);
    draft.changelog = ChangelogMode::Append;
    draft.state_signature = Some(signature);
    let parallelism = draft.parallelism;
    let id = translator.graph.add(draft);
    let stream = Stream::of(id, schema, parallelism, ChangelogMode::Append, input.bounded);
    Ok(Stream { columns, schema: plain_schema(&node.schema), steady: input.steady, ..stream })
}

/// The table is held whole: any equality is a key.
fn match_whole(
    translator: &Translator<'_>,
    node: &TemporalNode,
    table: &mut Reference,
    condition: JoinCondition,
    reload_interval_ms: Option<i64>,
) -> Result<Matching> {
    if node.hint.is_some() {
        return Err(external(no_questions(&table.table)));
    }
    if condition.equal.is_empty() {
        let message = format!("a join with the reference table `{}` needs an equality to look rows up by", table.table);
        return Err(external(Diagnostic::new(message).with_hint("write ON o.currency = r.currency")));
    }
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = condition.equal.into_iter().unzip();
    let right_keys = table.keys(translator, &right_keys, &node.right)?;
    let reload = reload_interval_ms.map(|ms| detail("read again", format!("every {}", describe_ms(ms))));
    Ok(Matching {
        lookup: table.whole()?,
        policy: LookupPolicy::whole(&table.table, reload_interval_ms),
        left_keys,
        key_names: right_keys.iter().map(|index| table.schema.field(*index).name().clone()).collect(),
        right_keys,
        other: condition.other,
        details: reload.into_iter().collect(),
    })
}

/// The table is asked by key: equalities with its columns, also those of constants, are keys as far as its connector takes
/// them.
fn match_by_key(
    translator: &Translator<'_>,
    node: &TemporalNode,
    table: &Reference,
    condition: JoinCondition,
) -> Result<Matching> {
    let (mut offers, mut other) = (Vec::new(), Vec::new());
    let equal = condition.equal.into_iter().map(|(left, right)| (left.clone(), right.clone(), left.eq(right)));
    let rest = condition.other.into_iter().map(|part| match constant_key(&part) {
        Some((constant, column)) => (Some((constant, column)), part),
        None => (None, part),
    });
    let candidates = equal.map(|(left, right, part)| (Some((left, right)), part)).chain(rest);
    for (pair, part) in candidates {
        let offered = match pair {
            Some((left, right)) => offer(translator, node, table, left, &right)?,
            None => None,
        };
        match offered {
            Some((left, key)) => offers.push((left, key, part)),
            None => other.push(part),
        }
    }
    if offers.is_empty() {
        let message =
            format!("a join with `{}` needs an equality with one of its columns to look rows up by", table.table);
        let hint = format!("write ON o.id = {}.id, with the column as it is declared", table.table);
        return Err(external(Diagnostic::new(message).with_hint(hint)));
    }
    let keys: Vec<(String, DataType)> = offers.iter().map(|(_, key, _)| key.clone()).collect();
    let found = table.by_key(translator, &keys)?;
    let key_names: Vec<String> = found.keys.iter().map(|index| keys[*index].0.clone()).collect();
    let left_keys = found.keys.iter().map(|index| offers[*index].0.clone()).collect();
    let unused = offers.into_iter().enumerate().filter(|(index, _)| !found.keys.contains(index));
    other.extend(unused.map(|(_, (_, _, part))| part));
    let hint = node.hint.clone().unwrap_or_default();
    let policy = policy_of(translator, table, &found, key_names.clone(), &hint);
    let details = describe(&policy);
    Ok(Matching { lookup: found.lookup, policy, left_keys, right_keys: Vec::new(), key_names, other, details })
}

/// A key that the connector may take.
fn offer(
    translator: &Translator<'_>,
    node: &TemporalNode,
    table: &Reference,
    left: Expr,
    right: &Expr,
) -> Result<Option<(Expr, (String, DataType))>> {
    Ok(table.key_column(translator, right, &node.right)?.map(|key| (left, key)))
}

/// `d.kind = 'x'`, either way round: the constant and the column.
fn constant_key(part: &Expr) -> Option<(Expr, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = part else { return None };
    let is_constant = |expr: &Expr| matches!(expr, Expr::Literal(value, _) if !value.is_null());
    if is_constant(left) {
        return Some((left.as_ref().clone(), right.as_ref().clone()));
    }
    is_constant(right).then(|| (right.as_ref().clone(), left.as_ref().clone()))
}

fn policy_of(
    translator: &Translator<'_>,
    table: &Reference,
    found: &KeyedLookup,
    key_names: Vec<String>,
    hint: &LookupHint,
) -> LookupPolicy {
    let settings = translator.resolver.context.settings;
    let capacity = hint.capacity.map_or(settings.lookup_capacity(), |capacity| capacity as usize);
    let is_async = hint.is_async.unwrap_or(found.is_async);
    let timeout_ms = hint.timeout_ms.map(i64::try_from).and_then(Result::ok);
    let miss_retry = hint.miss_retry.as_ref().map(|retry| MissRetry {
        delay_ms: i64::try_from(retry.delay_ms).unwrap_or(i64::MAX),
        attempts_max: retry.attempts.saturating_add(1),
    });
    let questions_max = if is_async { found.questions_max.min(capacity) } else { 1 };
    let access = KeyAccess {
        key_names,
        capacity,
        questions_max,
        // Several questions under way keep the server busy while one is answered.
        keys_per_question: found.keys_per_question.min(capacity.div_ceil(questions_max)),
        cache: found.cache,
        miss_retry,
    };
    LookupPolicy {
        table: table.table.clone(),
        access: Access::ByKey(access),
        ordered: hint.is_ordered.unwrap_or(settings.lookups_are_ordered()) || !is_async,
        timeout_ms: timeout_ms.unwrap_or(settings.lookup_timeout().as_millis() as i64),
        retries_max: found.retries_max,
    }
}

fn describe(policy: &LookupPolicy) -> Details {
    let Access::ByKey(access) = &policy.access else { return Details::new() };
    let order = if policy.ordered { "rows leave in order" } else { "rows may overtake each other" };
    let asks = format!("{} keys at a time, {} per request; {order}", access.capacity, access.keys_per_question);
    let mut details = vec![detail("asks", asks)];
    details.extend(access.cache.map(|cache| {
        let rows = cache.rows_max.map_or("as memory allows".to_owned(), |rows| format!("{rows} rows"));
        let written = cache.expire_after_write_ms.map(|ms| format!(", {} after they were read", describe_ms(ms)));
        let used = cache.expire_after_access_ms.map(|ms| format!(", {} after they were used", describe_ms(ms)));
        detail("cache", format!("{rows}{}{}", written.unwrap_or_default(), used.unwrap_or_default()))
    }));
    details
}
