//! Joins of two streams: one file per kind, tried in the order of one list.

mod condition;
mod regular;

use datafusion_common::Result;
use datafusion_expr::{Join, LogicalPlan};

use super::Translator;
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::stream::Stream;

pub(super) use condition::JoinCondition;

/// Translates joins of one kind; `None` for all others.
type Kind = fn(&mut Translator<'_>, &Join, &JoinCondition) -> Option<Result<Stream>>;

/// Kinds that free their state as time goes on come first; a regular join takes what is left.
const KINDS: &[Kind] = &[regular::translate];

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let LogicalPlan::Join(join) = plan else { return None };
    Some(JoinCondition::of(join).and_then(|condition| {
        let translated = KINDS.iter().find_map(|kind| kind(translator, join, &condition));
        translated.unwrap_or_else(|| Err(external(Diagnostic::new("this join cannot run over a stream"))))
    }))
}
