//! Lookup joins: each row with the rows that a bounded table has when it comes.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::Expr;
use tidemill_engine::graph::{ChangelogMode, Parallelism};
use tidemill_engine::operators::join_rows::{JoinInput, joined_schema};
use tidemill_engine::operators::lookup_join::LookupJoin;

use super::input::{JoinShape, pair_columns, pair_condition, with_keys};
use super::reference::Reference;
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
use crate::plan::translate::settle::operator_draft;

pub(super) fn add(translator: &mut Translator<'_>, node: &TemporalNode, mut table: Reference) -> Result<Stream> {
    let shape = JoinShape { left: &node.left, right: &node.right, kind: node.kind, schema: &node.schema };
    let JoinCondition { equal, other } =
        JoinCondition::split(Vec::new(), &node.condition, [node.left.schema(), node.right.schema()]);
    if equal.is_empty() {
        let message = format!("a join with the reference table `{}` needs an equality to look rows up by", table.table);
        return Err(external(Diagnostic::new(message).with_hint("write ON o.currency = r.currency")));
    }
    let input = translator.translate(&node.left)?;
    if input.changelog != ChangelogMode::Append {
        let message = "a lookup join cannot take rows that are updated later: what is there may have changed by then";
        let hint = "group by a window so that rows are final";
        return Err(external(Diagnostic::new(message).with_hint(hint)));
    }
    let (left_keys, right_keys): (Vec<Expr>, Vec<Expr>) = equal.into_iter().unzip();
    let visible = table.schema.fields().len();
    let (input, left_places, left_visible) =
        with_keys(translator, input, &node.left, &left_keys.iter().collect::<Vec<_>>())?;
    let right_places = table.keys(translator, &right_keys, &node.right)?;
    let bases = [&input.base, &table.schema];
    let columns = pair_columns(bases, [left_visible, visible]);
    let condition = pair_condition(translator, &shape, &other, &columns)?;
    let schema = joined_schema(node.kind, &input.base, &table.schema);
    let pairs = left_places.iter().zip(&right_places);
    let pairs =
        pairs.map(|(left, right)| format!("{} = {}", bases[0].field(*left).name(), bases[1].field(*right).name()));
    let mut details = vec![
        detail("type", node.kind.to_string().to_uppercase()),
        detail("table", &table.table),
        detail("keys", pairs.collect::<Vec<_>>().join(", ")),
    ];
    details.extend(condition.as_ref().map(|condition| detail("where", display(condition))));
    details.extend(table.reload_interval_ms.map(|ms| detail("read again", format!("every {}", describe_ms(ms)))));
    let operator = LookupJoin {
        kind: node.kind,
        inputs: [
            JoinInput { schema: Arc::clone(&input.base), keys: left_places },
            JoinInput { schema: Arc::clone(&table.schema), keys: right_places },
        ],
        table: Arc::new(table.lookup_table()?),
        condition,
        schema: Arc::clone(&schema),
    };
    let mut draft = operator_draft("LookupJoin", Arc::new(operator), &input, Arc::clone(&schema), details);
    draft.changelog = ChangelogMode::Append;
    let parallelism: Parallelism = draft.parallelism;
    let id = translator.graph.add(draft);
    let stream = Stream::of(id, schema, parallelism, ChangelogMode::Append, input.bounded);
    Ok(Stream { columns, schema: plain_schema(&node.schema), steady: input.steady, ..stream })
}
