//! How long rows of a regular join are needed, where the other input has a time that is never late: ends of windows, for example.
//!
//! `l.ts >= r.window_end - INTERVAL '10' SECOND` says that a left row fits no window that ends more than 10 seconds behind it, and
//! a window is given before the watermark passes its end and never after. So no pair is lost, as it would be if a time were
//! trusted that rows may be late for.

use datafusion_common::JoinType;
use datafusion_expr::{Join, Operator};
use tidemill_engine::operators::join::Lifetime;

use super::condition::JoinCondition;
use super::interval::Reader;
use super::near_miss::as_if_timed;
use crate::plan::traits::{self, ColumnTraits};

/// Those of the left and the right rows of a join that only adds rows; to be asked for joins that do not go by time.
pub(crate) fn lifetimes(join: &Join) -> [Option<Lifetime>; 2] {
    if join.join_type != JoinType::Inner {
        return [None; 2];
    }
    let known = [&join.left, &join.right].map(|input| traits::of_plan(input));
    [0, 1].map(|side| of_side(join, side, &known))
}

fn of_side(join: &Join, side: usize, known: &[Vec<ColumnTraits>; 2]) -> Option<Lifetime> {
    let inputs = [&join.left, &join.right];
    // Any timestamp of this side may be compared, and what is punctual of the other.
    let timed = as_if_timed(inputs[side].schema(), &known[side]);
    let punctual: Vec<ColumnTraits> = known[1 - side].iter().map(ColumnTraits::as_punctual_time).collect();
    let traits: [&[ColumnTraits]; 2] = if side == 0 { [&timed, &punctual] } else { [&punctual, &timed] };
    let reader = Reader { join, traits };
    let condition = JoinCondition::of(join);
    let equal = condition.equal.iter().filter_map(|(left, right)| reader.comparison(left, Operator::Eq, right));
    let other = condition.other.iter().flat_map(|part| reader.conjunct(part));
    let lifetimes = equal.chain(other).filter_map(|bound| {
        let after_ms = if side == 0 { bound.lower_ms?.checked_neg()? } else { bound.upper_ms? };
        let after_ms = after_ms.checked_add(i64::from(!reader.is_exact()))?;
        Some(Lifetime { time: bound.times[side], after_ms })
    });
    lifetimes.min_by_key(|lifetime| lifetime.after_ms)
}
