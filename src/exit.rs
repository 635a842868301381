//! Exit codes: what a calling script can rely on.

use std::process::ExitCode;

/// How the program ends; documented in `tidemill --help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or stopped on request with a final checkpoint.
    Success,
    /// The job failed and restarting did not help.
    JobFailed,
    /// The SQL or the command line is wrong; nothing was started.
    WrongInput,
    /// A checkpoint or savepoint is damaged, or belongs to another plan.
    StateUnusable,
    /// At least one test case failed.
    TestFailed,
    /// A second Ctrl-C: the process ended at once; the last checkpoint stands.
    Interrupted,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::JobFailed => 1,
            Self::WrongInput => 2,
            Self::StateUnusable => 3,
            Self::TestFailed => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit.code())
    }
}
