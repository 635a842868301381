//! How much memory there is for a job that has the process for itself.

use std::ops::RangeInclusive;

use tidemill_engine::runtime::options::MEMORY_BUDGET_DEFAULT;

use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System, get_current_pid};

/// Part of the memory that this process may take at most which is for state: batches on their way, files that the system keeps
/// in memory and other programs need the rest.
const SHARE: u64 = 4;

/// With less, state would be on disk at once; with more, there is more to write when it does not fit after all.
const BUDGET_BYTES: RangeInclusive<u64> = 64 << 20..=1 << 30;

/// The memory budget of a job that sets none and runs alone, in bytes: that of any job, where the system does not say how much memory
/// there is.
pub fn budget_of_only_job() -> usize {
    memory_bytes().map_or(MEMORY_BUDGET_DEFAULT, |bytes| budget_within(bytes) as usize)
}

fn budget_within(memory_bytes: u64) -> u64 {
    (memory_bytes / SHARE).clamp(*BUDGET_BYTES.start(), *BUDGET_BYTES.end())
}

/// Of the machine, or less where a container or another control group limits this process.
fn memory_bytes() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let process = get_current_pid().ok().and_then(|pid| {
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, ProcessRefreshKind::nothing());
        system.process(pid)
    });
    let limit = process.and_then(|process| process.cgroup_limits()).map(|limits| limits.total_memory);
    [Some(system.total_memory()), limit].into_iter().flatten().filter(|bytes| *bytes > 0).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gets_a_quarter_of_the_memory_within_bounds() {
        let budgets = [100 << 20, 1 << 30, 2 << 30, 64 << 30].map(budget_within);
        assert_eq!(budgets.map(|bytes| bytes >> 20), [64, 256, 512, 1024]);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_no_more_than_the_machine_has() {
        let text = std::fs::read_to_string("/proc/meminfo").expect("Linux tells");
        let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).expect("a line of it");
        let machine: u64 = total.trim().trim_end_matches(" kB").parse().expect("a number");
        let found = memory_bytes().expect("Linux tells");
        assert!(found > 0 && found <= machine << 10, "{found} of {machine} kB");
    }
}
