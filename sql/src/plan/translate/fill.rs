//! `SET 'tidemill.window-fill.span'`: rows in the empty windows between two results of a key.
//!
//! A setting and not syntax, so that a script stays one that Flink takes: Flink passes over settings that it does not
//! know, but not over unknown hints or arguments.

use std::sync::Arc;

use datafusion_common::{Result, ScalarValue};
use tidemill_engine::aggregate::AggregateCall;
use tidemill_engine::operators::window_aggregate::WindowProperty;
use tidemill_engine::operators::window_fill::{FillColumn, WindowFill};
use tidemill_engine::time::window::{TimeDomain, WindowKind, WindowSpec};

use super::Translator;
use super::settle::{operator_draft, typed_names};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_ms;
use crate::plan::stream::Stream;
use crate::settings::keys;

/// Refuses windows whose gaps cannot be filled, where the session asks for it.
pub(super) fn check(translator: &Translator<'_>, spec: &WindowSpec) -> Result<()> {
    if translator.resolver.context.settings.fill_span().is_none() {
        return Ok(());
    }
    let refuse = |why: &str| {
        let hint = format!("RESET '{}', or use TUMBLE, HOP or CUMULATE over event time", keys::FILL_SPAN);
        Err(external(Diagnostic::new(format!("gaps between windows cannot be filled: {why}")).with_hint(hint)))
    };
    match spec {
        WindowSpec { kind: WindowKind::Session { .. }, .. } => refuse("sessions have no empty windows between them"),
        WindowSpec { domain: TimeDomain::Processing, .. } => {
            refuse("in processing time nothing says when a key is quiet")
        }
        _ => Ok(()),
    }
}

/// Behind a window aggregation: what fills the gaps, if the session asks for it. The output is that of the aggregation.
pub(super) fn add(
    translator: &mut Translator<'_>,
    rows: Stream,
    keys: usize,
    calls: &[AggregateCall],
    properties: &[WindowProperty],
    spec: &WindowSpec,
) -> Result<Stream> {
    let settings = translator.resolver.context.settings;
    let Some(span) = settings.fill_span() else { return Ok(rows) };
    let results = settings.window_results();
    if results.early.is_some() || !results.lateness.is_zero() {
        let message = "gaps are filled between final results only, but early or corrected ones are asked for";
        let hint =
            format!("RESET '{}', or RESET '{}' and '{}'", keys::FILL_SPAN, keys::EARLY_FIRE, keys::ALLOW_LATENESS);
        return Err(external(Diagnostic::new(message).with_hint(hint)));
    }
    let Some(end) = properties.iter().position(|property| *property == WindowProperty::End) else {
        return Err(external(Diagnostic::new("gaps can be filled only with window_end among the groups")));
    };
    let schema = Arc::clone(&rows.base);
    let asked = settings.fill_values().to_owned();
    let mut columns = vec![FillColumn::Key; keys];
    for (call, field) in calls.iter().zip(&schema.fields()[keys..]) {
        columns.push(filled(&asked, call, field.data_type())?);
    }
    columns.extend(properties.iter().map(|property| FillColumn::Property(*property)));
    let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    let details = vec![
        detail("gaps of a key up to", describe_ms(span_ms)),
        detail("are filled with", format!("COUNT 0, others {asked}")),
        detail("state", format!("the last result per key, freed {} after its window", describe_ms(span_ms))),
    ];
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let signature = format!("last results of [{}]", typed_names(&schema, &all));
    let end = keys + calls.len() + end;
    let operator = WindowFill { spec: spec.clone(), columns, end, span_ms, schema: Arc::clone(&schema) };
    let mut draft = operator_draft("WindowFill", Arc::new(operator), &rows, Arc::clone(&schema), details);
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    Ok(Stream::of(node, schema, rows.parallelism, rows.changelog, rows.bounded))
}

/// What an aggregate is in a filled row: a constant that its type cannot hold is NULL.
fn filled(asked: &str, call: &AggregateCall, data_type: &arrow::datatypes::DataType) -> Result<FillColumn> {
    if ["COUNT(", "APPROX_COUNT_DISTINCT("].iter().any(|count| call.display.starts_with(count)) {
        return Ok(FillColumn::Zero);
    }
    let constant = match asked.to_ascii_lowercase().as_str() {
        "null" => return Ok(FillColumn::Null),
        "previous" => return Ok(FillColumn::Previous),
        number => {
            number.parse::<i64>().map(ScalarValue::from).or_else(|_| number.parse::<f64>().map(ScalarValue::from))
        }
    };
    match constant.map(|value: ScalarValue| value.cast_to(data_type)) {
        Ok(Ok(value)) => Ok(FillColumn::Constant(value)),
        Ok(Err(_)) => Ok(FillColumn::Null),
        Err(_) => {
            let message =
                format!("`{asked}` of option `{}` is neither `null`, `previous` nor a number", keys::FILL_VALUES);
            Err(external(Diagnostic::new(message)))
        }
    }
}
