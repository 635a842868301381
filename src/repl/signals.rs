//! Ctrl-C and requests to leave, as flags that are looked at between two steps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What the outside world asked for.
#[derive(Clone, Default)]
pub struct Signals {
    interrupted: Arc<AtomicBool>,
    leave: Arc<AtomicBool>,
}

impl Signals {
    pub fn install() -> io::Result<Self> {
        let signals = Self::default();
        signal_hook::flag::register(SIGINT, Arc::clone(&signals.interrupted))?;
        for signal in [SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&signals.leave))?;
        }
        Ok(signals)
    }

    /// Ctrl-C since this was asked last; a request to leave interrupts everything.
    pub fn take_interrupt(&self) -> bool {
        self.interrupted.swap(false, Ordering::Relaxed) || self.leaves()
    }

    /// The process was asked to end.
    pub fn leaves(&self) -> bool {
        self.leave.load(Ordering::Relaxed)
    }
}
