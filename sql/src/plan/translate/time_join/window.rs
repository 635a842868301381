//! Window joins: rows of both inputs that belong to the same window.

use std::sync::Arc;

use datafusion_common::Result;
use datafusion_expr::Join;
use tidemill_engine::operators::window_join::WindowJoin;

use super::input::{Inputs, JoinShape};
use crate::plan::display::display;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_window;
use crate::plan::stream::Stream;
use crate::plan::time_join::WindowCondition;
use crate::plan::translate::Translator;

pub(super) fn add(translator: &mut Translator<'_>, join: &Join, condition: WindowCondition) -> Result<Stream> {
    let WindowCondition { spec, equal, end, other } = condition;
    let shape = JoinShape::of(join);
    let inputs = Inputs::new(translator, &shape, &equal, "a window join", [false, false])?;
    let condition = inputs.condition(translator, &shape, &other)?;
    let window = describe_window(&spec);
    let mut details = vec![detail("type", join.join_type.to_string().to_uppercase()), detail("window", &window)];
    details.extend(inputs.describe_keys());
    details.extend(condition.as_ref().map(|condition| detail("where", display(condition))));
    details.push(detail("state", "rows of both inputs by window, until the watermark closes it"));
    let residual = condition.as_ref().map_or(String::new(), |condition| format!("; where {}", display(condition)));
    let signature = format!("{}; {window}{residual}", inputs.signature(join.join_type));
    let operator = WindowJoin {
        kind: join.join_type,
        inputs: inputs.join_inputs(),
        ends: [inputs.keys[0][end], inputs.keys[1][end]],
        zone: spec.zone,
        condition,
        schema: inputs.joined(join.join_type),
    };
    Ok(inputs.add(translator, &shape, "WindowJoin", Arc::new(operator), details, signature))
}
