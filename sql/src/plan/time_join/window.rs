//! Joins of rows of the same window: `L.window_start = R.window_start AND L.window_end = R.window_end`.

use datafusion_common::JoinType;
use datafusion_expr::{Expr, Join};
use tidemill_engine::operators::window_aggregate::WindowProperty;
use tidemill_engine::time::window::{TimeDomain, WindowSpec};

use super::condition::{JoinCondition, place_of};
use super::is_always_there;
use crate::diagnostic::Diagnostic;
use crate::plan::nodes::window::describe_window;
use crate::plan::traits::ColumnTraits;

pub(crate) struct WindowCondition {
    pub spec: WindowSpec,
    /// All equalities, those of the windows' bounds among them.
    pub equal: Vec<(Expr, Expr)>,
    /// Of these, the one of `window_end`.
    pub end: usize,
    pub other: Vec<Expr>,
}

impl WindowCondition {
    /// `None` where the join does not compare windows; a refusal where it does so in a way that cannot work.
    pub fn of(
        join: &Join,
        condition: &JoinCondition,
        traits: [&[ColumnTraits]; 2],
    ) -> Option<Result<Self, Diagnostic>> {
        let bounds = condition.equal.iter().map(|(left, right)| {
            let window = |expr: &Expr| window_of(join, expr, traits);
            Some((window(left)?, window(right)?))
        });
        let bounds: Vec<_> = bounds.collect();
        let compared = |property: WindowProperty| {
            bounds.iter().position(|pair| pair.as_ref().is_some_and(|(l, r)| l.0 == property && r.0 == property))
        };
        let (start, end) = (compared(WindowProperty::Start), compared(WindowProperty::End));
        let (left, right) = bounds[start.or(end)?].as_ref()?;
        Some(check(&left.1, &right.1, start, end).map(|end| Self {
            spec: left.1.clone(),
            equal: condition.equal.clone(),
            end,
            other: condition.other.clone(),
        }))
    }

    /// Joined rows stay in their window.
    pub fn traits(&self, kind: JoinType, inputs: [Vec<ColumnTraits>; 2]) -> Vec<ColumnTraits> {
        let sides = inputs.into_iter().enumerate().flat_map(|(side, columns)| {
            columns.into_iter().map(move |column| match column.window.is_some() && is_always_there(kind, side) {
                true => column.not_punctual(),
                false => {
                    let time = column.time.filter(|time| *time == TimeDomain::Processing);
                    ColumnTraits { time, ..ColumnTraits::default() }
                }
            })
        });
        sides.collect()
    }
}

/// The bound of a window that a plain column is, and of which window.
fn window_of(join: &Join, expr: &Expr, traits: [&[ColumnTraits]; 2]) -> Option<(WindowProperty, WindowSpec)> {
    let Expr::Column(column) = expr else { return None };
    let (side, index) = place_of(join, column)?;
    traits[side].get(index)?.window.clone()
}

/// The place of the equality of `window_end`, if both bounds of one and the same window are compared.
fn check(left: &WindowSpec, right: &WindowSpec, start: Option<usize>, end: Option<usize>) -> Result<usize, Diagnostic> {
    if left != right {
        let shown = |spec: &WindowSpec| match spec.domain {
            TimeDomain::Event => describe_window(spec),
            TimeDomain::Processing => format!("{} by the wall clock", describe_window(spec)),
        };
        let message =
            format!("both sides of a window join need the same window, not {} and {}", shown(left), shown(right));
        return Err(Diagnostic::new(message).with_hint("write the same window function with the same lengths twice"));
    }
    if left.domain == TimeDomain::Processing {
        let message = "a window join goes by event time, not by the wall clock";
        return Err(Diagnostic::new(message).with_hint("put the windows over a column with a WATERMARK"));
    }
    let missing = |name: &str| {
        let message = format!("a join of windows must compare both of their bounds: {name} is missing");
        Diagnostic::new(message).with_hint(format!("add AND l.{name} = r.{name} to the condition"))
    };
    start.ok_or_else(|| missing("window_start"))?;
    end.ok_or_else(|| missing("window_end"))
}
