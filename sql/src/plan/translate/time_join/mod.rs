//! Joins that go by time, one file per kind. All of them free their state as time passes.

use datafusion_common::Result;
use datafusion_expr::LogicalPlan;

use super::Translator;
use crate::plan::context::external;
use crate::plan::nodes::temporal::TemporalNode;
use crate::plan::stream::Stream;
use crate::plan::time_join::TimeJoin;

mod input;
mod interval;
mod lookup;
mod reference;
mod temporal;
mod window;

pub(super) fn translate(translator: &mut Translator<'_>, plan: &LogicalPlan) -> Option<Result<Stream>> {
    let join = match plan {
        LogicalPlan::Join(join) => join,
        LogicalPlan::Extension(extension) => {
            let node = extension.node.as_any().downcast_ref::<TemporalNode>()?;
            return Some(temporal::add(translator, node));
        }
        _ => return None,
    };
    match TimeJoin::of(join)? {
        TimeJoin::Refused(diagnostic) => Some(Err(external(diagnostic))),
        TimeJoin::Window(condition) => Some(window::add(translator, join, condition)),
        TimeJoin::Interval(condition) => Some(interval::add(translator, join, condition)),
    }
}
