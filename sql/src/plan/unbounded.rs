//! State that nothing ever frees: allowed, warned of or refused, as `table.exec.state.unbounded` says.

use datafusion_common::Result;
use datafusion_expr::Join;
use sqlparser::tokenizer::{Location, Span};

use super::context::external;
use super::time_join::NearMiss;
use super::translate::Translator;
use super::windows::how_to_tell_time;
use crate::diagnostic::Diagnostic;
use crate::settings::UnboundedState;

/// What a regular join keeps of its inputs, of which some are freed when time passes their rows.
fn join_state(is_freed: [bool; 2]) -> Option<&'static str> {
    match is_freed {
        [false, false] => Some("the rows of both inputs"),
        [false, true] => Some("the rows of its left input"),
        [true, false] => Some("the rows of its right input"),
        [true, true] => None,
    }
}

/// What frees state that nothing else frees.
const TTL_REMEDY: &str = "SET 'table.exec.state.ttl' = '1 d' frees what was not used for a day";

/// State that would be kept as long as the job runs.
struct Growing<'a> {
    node: String,
    what: &'a str,
    /// Where in the script the reason for it stands.
    place: Span,
    remedy: String,
}

impl Translator<'_> {
    /// To be called for a node that keeps `what` as long as the job runs. Inputs that end bound every state; so does a
    /// time to live.
    pub fn note_unbounded_state(&mut self, node: &str, what: &str, is_bounded: bool) -> Result<()> {
        let growing = Growing { node: node.into(), what, place: Span::empty(), remedy: TTL_REMEDY.into() };
        self.note_growing(growing, is_bounded)
    }

    /// The same for a join whose rows wait for each other without end. Where its condition bounds times, it may have been
    /// meant to go by them.
    pub fn note_endless_join(&mut self, join: &Join, is_freed: [bool; 2], is_bounded: bool) -> Result<()> {
        let Some(what) = join_state(is_freed) else { return Ok(()) };
        let Some(miss) = NearMiss::of(join) else {
            return self.note_unbounded_state("a join", what, is_bounded);
        };
        let name = miss.column.flat_name();
        let node = format!("a join by the distance of times, of which `{name}` is no time attribute,");
        let remedy = format!("{}; or {TTL_REMEDY}", how_to_tell_time(miss.input, &miss.column));
        let written = miss.column.spans.first();
        let place = written.map_or_else(Span::empty, |span| {
            let location = |at: datafusion_common::Location| Location::new(at.line, at.column);
            Span::new(location(span.start), location(span.end))
        });
        self.note_growing(Growing { node, what, place, remedy }, is_bounded)
    }

    fn note_growing(&mut self, growing: Growing<'_>, is_bounded: bool) -> Result<()> {
        let settings = self.resolver.context.settings;
        if is_bounded || settings.state_ttl().is_some() {
            return Ok(());
        }
        let Growing { node, what, place, remedy } = growing;
        match settings.unbounded_state() {
            UnboundedState::Allow => {}
            UnboundedState::Warn => {
                let message = format!("{node} keeps {what} for as long as the job runs; {remedy}");
                let warning = match place.start.line {
                    0 => message,
                    line => format!("line {line}, column {}: {message}", place.start.column),
                };
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
            }
            UnboundedState::Forbid => {
                let message = format!("{node} would keep {what} for as long as the job runs");
                let hint = format!("{remedy}; 'table.exec.state.unbounded' = 'warn' allows it");
                return Err(external(Diagnostic::at(place, message).with_hint(hint)));
            }
        }
        Ok(())
    }
}
