//! State that nothing ever frees: allowed, warned of or refused, as `table.exec.state.unbounded` says.

use datafusion_common::Result;

use super::context::external;
use super::translate::Translator;
use crate::diagnostic::Diagnostic;
use crate::settings::UnboundedState;

impl Translator<'_> {
    /// To be called for a node that keeps `what` as long as the job runs. Inputs that end bound every state; so does a
    /// time to live.
    pub fn note_unbounded_state(&mut self, node: &str, what: &str, is_bounded: bool) -> Result<()> {
        let settings = self.resolver.context.settings;
        if is_bounded || settings.state_ttl().is_some() {
            return Ok(());
        }
        let remedy = "SET 'table.exec.state.ttl' = '1 d' frees what was not used for a day";
        match settings.unbounded_state() {
            UnboundedState::Allow => {}
            UnboundedState::Warn => {
                let warning = format!("{node} keeps {what} for as long as the job runs; {remedy}");
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
            }
            UnboundedState::Forbid => {
                let message = format!("{node} would keep {what} for as long as the job runs");
                let hint = format!("{remedy}; 'table.exec.state.unbounded' = 'warn' allows it");
                return Err(external(Diagnostic::new(message).with_hint(hint)));
            }
        }
        Ok(())
    }
}
