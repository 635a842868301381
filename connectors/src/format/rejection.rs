//! What becomes of a bad record: it is kept aside, or it fails the job with its place and what to do.

use tidemill_engine::source::Rejected;
use tidemill_engine::{EngineError, Result};

use super::excerpt;
use super::flaw::Flaw;

/// How a decoder treats bad records.
#[derive(Debug, Clone)]
pub(crate) struct Rejection {
    /// Leave bad records out.
    pub(crate) ignore: bool,
    /// The option that sets `ignore`; `None` where the format has none.
    pub(crate) option: Option<&'static str>,
    /// The file, for messages.
    pub(crate) place: String,
}

impl Rejection {
    /// `offset`: of the record in its file.
    #[cold]
    pub(crate) fn reject(&self, flaw: &Flaw, record: &[u8], offset: u64, rejected: &mut Vec<Rejected>) -> Result<()> {
        if self.ignore {
            rejected.push(Rejected { offset, record: record.to_vec(), reason: flaw.to_string() });
            return Ok(());
        }
        let hint = match self.option {
            None => "correct the record".to_owned(),
            Some(option) => format!(
                "correct the record, or set '{option}' = 'true' to leave bad records out and keep them in <table>$errors"
            ),
        };
        let (place, reason, excerpt) = (self.place.clone(), flaw.to_string(), excerpt(record));
        Err(EngineError::BadRecord { place, offset, reason, excerpt, hint })
    }
}
