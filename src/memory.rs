//! How the C library's allocator shares out memory among threads.

/// Lets as many arenas serve all threads as threads can run at once. To be called before there is another thread.
///
/// By default there may be eight times as many, and what a thread frees goes back to the arena that it came from: RocksDB's
/// blocks are read by some threads and given up by others, so that each arena would in time be as large as the most
/// that it ever held.
pub fn share_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let arenas = std::thread::available_parallelism().map_or(ARENAS_MIN, |cores| cores.get().max(ARENAS_MIN));
        let arenas = i32::try_from(arenas).unwrap_or(i32::MAX);
        // SAFETY: mallopt takes two numbers and no pointer, and may be called whenever no other thread allocates: none
        // has been started yet. If it refuses, all stays as it was.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, arenas) };
    }
}

/// Two, so that a second thread need not wait for the first even where the number of cores is unknown.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MIN: usize = 2;
