//! `SET 'table.exec.emit...'`: results of windows before they close, and corrections of those that have fired.

use std::sync::Arc;
use std::time::Duration;

use datafusion_common::Result;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::operators::corrections::Correction;
use tidemill_engine::operators::window_aggregate::{Emission, WindowProperty};
use tidemill_engine::operators::window_changes::WindowChanges;
use tidemill_engine::time::window::{TimeDomain, WindowKind, WindowSpec};

use super::Translator;
use super::settle::{Details, operator_draft, typed_names};
use crate::diagnostic::Diagnostic;
use crate::plan::context::external;
use crate::plan::graph_builder::detail;
use crate::plan::nodes::window::describe_ms;
use crate::plan::stream::Stream;
use crate::settings::{WindowResults, keys};

/// What the session asks of windows like this one, or why that cannot be.
pub(super) fn wanted(translator: &Translator<'_>, input: &Stream, spec: &WindowSpec) -> Result<Emission> {
    let asked = translator.resolver.context.settings.window_results();
    let emission = emission(asked);
    if emission.is_final_only() {
        return refuse_late_fire(asked).map(|()| emission);
    }
    let is_session = matches!(spec.kind, WindowKind::Session { .. });
    let hint = || format!("RESET '{}'; RESET '{}'", keys::EARLY_FIRE, keys::ALLOW_LATENESS);
    if input.is_updated() && !is_session {
        let message = "early results and corrections need a window over rows that are not updated later";
        return Err(external(Diagnostic::new(message).with_hint(hint())));
    }
    if input.is_updated() && asked.appended {
        let message = "corrections cannot be appended where rows are taken back: a session that loses all of its rows has no further result";
        let hint = format!("RESET '{}'", keys::CORRECTIONS);
        return Err(external(Diagnostic::new(message).with_hint(hint)));
    }
    if spec.domain == TimeDomain::Processing && emission.lateness_ms > 0 {
        let message = "in processing time no row is late, so windows cannot wait for late rows";
        return Err(external(Diagnostic::new(message).with_hint(format!("RESET '{}'", keys::ALLOW_LATENESS))));
    }
    Ok(emission)
}

/// Sessions whose rows carry them have closed: they have nothing to show early, and take no late rows.
pub(super) fn refuse_closed_sessions(translator: &Translator<'_>, spec: &WindowSpec) -> Result<()> {
    let is_final_only = emission(translator.resolver.context.settings.window_results()).is_final_only();
    if is_final_only || !matches!(spec.kind, WindowKind::Session { .. }) {
        return Ok(());
    }
    let message = "a session gives early results and corrections only where it is grouped by just its PARTITION BY columns and bounds";
    let hint = format!(
        "GROUP BY those columns, window_start, window_end, with no WHERE between the two; or RESET '{}'; RESET '{}'",
        keys::EARLY_FIRE,
        keys::ALLOW_LATENESS
    );
    Err(external(Diagnostic::new(message).with_hint(hint)))
}

/// How results that differ from the last ones are told, and the changelog that this makes.
pub(super) fn correction(translator: &Translator<'_>) -> (Correction, ChangelogMode) {
    match translator.resolver.context.settings.window_results().appended {
        true => (Correction::Append, ChangelogMode::Append),
        false => (Correction::Update, ChangelogMode::Retract),
    }
}

/// For EXPLAIN: how corrections are told.
pub(super) fn describe_correction(correction: Correction) -> (String, String) {
    let told = match correction {
        Correction::Append => "a further row, the last of which counts",
        Correction::Update => "an update",
    };
    detail("a result that differs is", told)
}

fn emission(asked: WindowResults) -> Emission {
    let millis = |length: Duration| i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    Emission {
        early_ms: asked.early.map(millis),
        late_ms: asked.late.map_or(0, millis),
        lateness_ms: millis(asked.lateness),
    }
}

fn refuse_late_fire(asked: WindowResults) -> Result<()> {
    if asked.late.is_none() {
        return Ok(());
    }
    let message = format!("`{}` needs windows that take late rows", keys::LATE_FIRE);
    let hint = format!("SET '{}' = '1 min', or RESET '{}'", keys::ALLOW_LATENESS, keys::LATE_FIRE);
    Err(external(Diagnostic::new(message).with_hint(hint)))
}

/// For EXPLAIN.
pub(super) fn describe(emission: Emission, details: &mut Details) {
    if let Some(early_ms) = emission.early_ms {
        let when = if early_ms == 0 { "at once".to_owned() } else { format!("after {}", describe_ms(early_ms)) };
        details.push(detail("early results", when));
    }
    if emission.lateness_ms > 0 {
        let delay = if emission.late_ms == 0 {
            String::new()
        } else {
            format!(", shown after {}", describe_ms(emission.late_ms))
        };
        details.push(detail("allowed lateness", format!("{}{delay}", describe_ms(emission.lateness_ms))));
    }
}

/// Behind a window aggregation that gives results more than once: what makes changes of them. Its output is that of the
/// aggregation: keys, aggregates, properties of the window.
pub(super) fn add_changes(
    translator: &mut Translator<'_>,
    rows: Stream,
    (keys, calls): (usize, usize),
    properties: &[WindowProperty],
    zone: Option<chrono_tz::Tz>,
    domain: TimeDomain,
) -> Result<Stream> {
    let place = |wanted| properties.iter().position(|property| *property == wanted).map(|index| keys + calls + index);
    let Some((start, end)) = place(WindowProperty::Start).zip(place(WindowProperty::End)) else {
        return Err(external(Diagnostic::new("early results need window_start and window_end among the groups")));
    };
    let (correction, changelog) = correction(translator);
    let schema = Arc::clone(&rows.base);
    let keys: Vec<usize> = (0..keys).collect();
    let details = vec![
        describe_correction(correction),
        detail("state", "the last result per key and window, freed when the window takes no rows any more"),
    ];
    let signature =
        format!("last results of [{}]", typed_names(&schema, &(0..schema.fields().len()).collect::<Vec<_>>()));
    let operator = WindowChanges { keys, start, end, zone, domain, correction, schema: Arc::clone(&schema) };
    let mut draft = operator_draft("WindowChanges", Arc::new(operator), &rows, Arc::clone(&schema), details);
    draft.changelog = changelog;
    draft.state_signature = Some(signature);
    let node = translator.graph.add(draft);
    Ok(Stream::of(node, schema, rows.parallelism, changelog, rows.bounded))
}
