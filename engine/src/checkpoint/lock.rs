//! One process per state directory (I7): an advisory lock that the kernel takes back when its holder dies.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::{EngineError, Result};

const LOCK_NAME: &str = "LOCK";

/// Held as long as this value lives. The file itself stays: removing it would let two processes lock two files.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
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
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(state_dir, &path)),
            Err(TryLockError::Error(error)) => return Err(io_error("lock")(error)),
        }
        // Only now: the text of a holder must never be cut off by somebody who does not get the lock.
        file.set_len(0).map_err(io_error("write"))?;
        writeln!(file, "{}", std::process::id()).map_err(io_error("write"))?;
        Ok(Self { _file: file })
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
