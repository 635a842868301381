//! Joins that go by time: found in a logical join by its condition and by what its inputs know about time.
//!
//! Nothing is translated here: [`super::traits`] asks the same question to know what the joined rows keep.

use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::Join;
use tidemill_engine::time::window::TimeDomain;

use super::traits::{self, ColumnTraits};
use crate::diagnostic::Diagnostic;

mod condition;
mod interval;
mod lifetime;
mod near_miss;
mod window;

pub(crate) use condition::JoinCondition;
pub(crate) use interval::IntervalCondition;
pub(crate) use lifetime::lifetimes;
pub(crate) use near_miss::NearMiss;
pub(crate) use window::WindowCondition;

/// What a join goes by besides equality.
pub(crate) enum TimeJoin {
    Window(WindowCondition),
    Interval(IntervalCondition),
    /// It goes by time in a way that cannot work.
    Refused(Diagnostic),
}

impl TimeJoin {
    /// `None` for a join that knows nothing of time.
    pub fn of(join: &Join) -> Option<Self> {
        use JoinType::{Full, Inner, Left, LeftAnti, LeftSemi, Right};
        let is_plain = matches!(join.join_type, Inner | Left | Right | Full | LeftSemi | LeftAnti)
            && join.null_equality == NullEquality::NullEqualsNothing
            && !join.null_aware;
        if !is_plain {
            return None;
        }
        let (left, right) = (traits::of_plan(&join.left), traits::of_plan(&join.right));
        let traits = [left.as_slice(), right.as_slice()];
        let condition = JoinCondition::of(join);
        match WindowCondition::of(join, &condition, traits) {
            Some(Ok(window)) => Some(Self::Window(window)),
            Some(Err(diagnostic)) => Some(Self::Refused(diagnostic)),
            None => IntervalCondition::of(join, condition, traits).map(Self::Interval),
        }
    }
}

/// The traits of a join's output columns. A join that does not go by time gives rows in no order of time.
pub(crate) fn traits_of(join: &Join) -> Vec<ColumnTraits> {
    let inputs = [traits::of_plan(&join.left), traits::of_plan(&join.right)];
    let mut traits = match TimeJoin::of(join) {
        None | Some(TimeJoin::Refused(_)) => Vec::new(),
        Some(TimeJoin::Window(window)) => window.traits(join.join_type, inputs),
        Some(TimeJoin::Interval(interval)) => interval.traits(join.join_type, inputs),
    };
    // Semi and anti joins give the left columns alone.
    traits.resize(join.schema.fields().len(), ColumnTraits::default());
    traits
}

/// True for a join that needs its inputs' watermarks.
pub(crate) fn goes_by_event_time(join: &Join) -> bool {
    match TimeJoin::of(join) {
        None => false,
        Some(TimeJoin::Interval(interval)) => interval.domain == TimeDomain::Event,
        Some(TimeJoin::Window(_) | TimeJoin::Refused(_)) => true,
    }
}

/// True where a side's columns are never NULL for want of a partner.
pub(crate) fn is_always_there(kind: JoinType, side: usize) -> bool {
    match side {
        0 => !matches!(kind, JoinType::Right | JoinType::Full),
        _ => !matches!(kind, JoinType::Left | JoinType::Full),
    }
}
