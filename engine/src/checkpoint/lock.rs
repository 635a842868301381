//! One process per state directory (I7): an advisory lock that the kernel takes back when its holder dies.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::{EngineError, Result};

const LOCK_NAME: &str = "LOCK";

/// A killed process gives its lock back a moment after it has gone from sight: a restart must not fail on that.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(500);
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Held as long as this value lives. The file itself stays: removing it would let two processes lock two files.
#[derive(Debug)]
pub struct StateLock {
    file: File,
}

impl StateLock {
    /// Fails with [`EngineError::StateInUse`], naming the other process, where somebody holds the lock.
    pub fn acquire(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(LOCK_NAME);
        let io_error = |action| move |error| EngineError::io(action, state_dir.join(LOCK_NAME), error);
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(io_error("open"))?;
        if !lock_within(&file, LOCK_WAIT_MAX).map_err(io_error("lock"))? {
            return Err(in_use(state_dir, &path));
        }
        // Only now: the text of a holder must never be cut off by somebody who does not get the lock.
        file.set_len(0).map_err(io_error("write"))?;
        writeln!(file, "{}", std::process::id()).map_err(io_error("write"))?;
        Ok(Self { file })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child process that was just forked and has not come to its exec yet.
        let _ = self.file.unlock();
    }
}

/// False where somebody else holds the lock all the time.
fn lock_within(file: &File, wait_max: Duration) -> io::Result<bool> {
    let begin = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begin.elapsed() >= wait_max => return Ok(false),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_RETRY_INTERVAL),
        }
    }
}

fn in_use(state_dir: &Path, lock_path: &Path) -> EngineError {
    let text = fs::read_to_string(lock_path).unwrap_or_default();
    let holder = match text.trim().parse::<u32>() {
        Ok(id) if id == std::process::id() => format!("this process ({id}) already"),
        Ok(id) => format!("process {id}"),
        Err(_) => "another process".to_string(),
    };
    EngineError::StateInUse { path: state_dir.to_path_buf(), holder }
}
