//! Interval joins: rows of both inputs whose times are near each other.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::Join;
use tidemill_engine::operators::interval_join::{IntervalJoin, TimeBounds};
use tidemill_engine::time::window::TimeDomain;

use super::input::{Inputs, JoinShape};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::display::display;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_ms;
use crate::plan::stream::Stream;
use crate::plan::time_join::IntervalCondition;
use crate::plan::translate::Translator;

pub(super) fn add(translator: &mut Translator<'_>, join: &Join, condition: IntervalCondition) -> Result<Stream> {
    let IntervalCondition { times, domain, bounds, equal, other } = condition;
    let shape = JoinShape::of(join);
    let inputs = Inputs::new(translator, &shape, &equal, "an interval join", [false, false])?;
    let interval = describe(&inputs, times, bounds);
    if bounds.is_empty() {
        let message = format!("no two rows can meet the join's condition on time: {interval}");
        return Err(external(Diagnostic::new(message).with_hint("the lower bound must not be above the upper one")));
    }
    let condition = inputs.condition(translator, &shape, &other)?;
    let mut details = vec![detail("type", join.join_type.to_string().to_uppercase()), detail("time", &interval)];
    details.extend(inputs.describe_keys());
    details.extend(condition.as_ref().map(|condition| detail("where", display(condition))));
    details.push(detail("state", describe_state(&inputs, times, domain, bounds)));
    let residual = condition.as_ref().map_or(String::new(), |condition| format!("; where {}", display(condition)));
    let signature = format!("{}; {interval}{residual}", inputs.signature(join.join_type));
    let operator = IntervalJoin {
        kind: join.join_type,
        domain,
        bounds,
        inputs: inputs.join_inputs(),
        times,
        condition,
        schema: inputs.joined(join.join_type),
    };
    Ok(inputs.add(translator, &shape, "IntervalJoin", Arc::new(operator), details, signature))
}

/// `ts - 1 h <= at <= ts + 5 min`, where `ts` is the left side's time.
fn describe(inputs: &Inputs, times: [usize; 2], bounds: TimeBounds) -> String {
    let name = |side: usize| inputs.sides[side].base.field(times[side]).name().clone();
    let shifted = |ms: i64| match ms {
        0 => name(1),
        ms if ms < 0 => format!("{} - {}", name(1), describe_ms(-ms)),
        ms => format!("{} + {}", name(1), describe_ms(ms)),
    };
    format!("{} <= {} <= {}", shifted(bounds.lower_ms), name(0), shifted(bounds.upper_ms))
}

fn describe_state(inputs: &Inputs, times: [usize; 2], domain: TimeDomain, bounds: TimeBounds) -> String {
    let clock = match domain {
        TimeDomain::Event => "the watermark",
        TimeDomain::Processing => "the wall clock",
    };
    let until = |side: usize, ms: i64| {
        let name = inputs.sides[side].base.field(times[side]).name();
        let sign = if ms < 0 { '-' } else { '+' };
        let shift = if ms == 0 { String::new() } else { format!(" {sign} {}", describe_ms(ms.abs())) };
        format!("until {clock} passes {name}{shift}")
    };
    let (left, right) = (until(0, bounds.lower_ms.saturating_neg()), until(1, bounds.upper_ms));
    format!("rows of the left input {left}, of the right input {right}")
}
