//! What was refused for want of a token or a role, for the audit log: told at once, and then counted.
//!
//! Whoever asks without end must neither fill the disk nor push out what others did: each caller, address and route makes an entry
//! a minute with the number of times, there are few of these at a time, and the store keeps them apart from what was done.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::jobs::AuditEntry;

/// Between two entries of one caller, address and route.
const PAUSE_MS: i64 = 60_000;
/// Callers, addresses and routes that are told apart; those beyond share one entry.
const KEYS_MAX: usize = 64;
/// Of the path that was asked for: whoever asks chooses it.
const TARGET_BYTES_MAX: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    who: String,
    from: String,
    what: String,
    status: u16,
}

#[derive(Debug)]
struct Counted {
    /// The last one.
    entry: AuditEntry,
    /// Not told yet.
    times: u64,
    next_ms: i64,
}

#[derive(Default)]
pub struct RefusedLog {
    counted: Mutex<HashMap<Key, Counted>>,
}

impl RefusedLog {
    /// One more; gives what is to be stored now.
    pub fn note(&self, mut entry: AuditEntry) -> Vec<AuditEntry> {
        let now_ms = entry.at_ms;
        entry.target.truncate(entry.target.floor_char_boundary(TARGET_BYTES_MAX));
        let mut counted = self.counted.lock();
        let mut key = key_of(&entry);
        if counted.len() >= KEYS_MAX && !counted.contains_key(&key) {
            entry = AuditEntry { who: "others".into(), from: "several".into(), what: "several".into(), ..entry };
            key = Key { status: 0, ..key_of(&entry) };
        }
        let one = counted.entry(key).or_insert_with(|| Counted { entry: entry.clone(), times: 0, next_ms: i64::MIN });
        one.entry = entry;
        one.times += 1;
        take_due(&mut counted, now_ms)
    }

    /// All that was counted and is not told yet, for whoever reads the log.
    pub fn take_all(&self, now_ms: i64) -> Vec<AuditEntry> {
        let mut counted = self.counted.lock();
        counted.values_mut().for_each(|one| one.next_ms = i64::MIN);
        take_due(&mut counted, now_ms)
    }
}

fn key_of(entry: &AuditEntry) -> Key {
    Key { who: entry.who.clone(), from: entry.from.clone(), what: entry.what.clone(), status: entry.status }
}

fn take_due(counted: &mut HashMap<Key, Counted>, now_ms: i64) -> Vec<AuditEntry> {
    counted.retain(|_, one| one.times > 0 || now_ms < one.next_ms);
    let due = counted.values_mut().filter(|one| one.times > 0 && now_ms >= one.next_ms);
    let told = due.map(|one| {
        one.next_ms = now_ms.saturating_add(PAUSE_MS);
        AuditEntry { times: std::mem::take(&mut one.times), ..one.entry.clone() }
    });
    let mut told: Vec<AuditEntry> = told.collect();
    told.sort_by_key(|entry| entry.at_ms);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(from: &str, at_ms: i64) -> AuditEntry {
        let (who, what) = ("unknown".to_string(), "GET /api/v1/jobs".to_string());
        AuditEntry { at_ms, who, from: from.into(), what, target: "/".repeat(5_000), status: 401, times: 1 }
    }

    #[test]
    fn the_first_is_told_at_once_and_the_rest_are_counted() {
        let log = RefusedLog::default();
        let times = |told: Vec<AuditEntry>| told.iter().map(|entry| entry.times).collect::<Vec<_>>();
        assert_eq!(times(log.note(refused("a", 0))), [1]);
        assert!((1..1_000).all(|at_ms| log.note(refused("a", at_ms)).is_empty()));
        assert_eq!(times(log.note(refused("b", 1_000))), [1], "another address has its own");
        let told = log.note(refused("a", PAUSE_MS));
        assert_eq!((told[0].times, told[0].at_ms, told[0].target.len()), (1_000, PAUSE_MS, TARGET_BYTES_MAX));
        assert!(log.note(refused("a", PAUSE_MS + 1)).is_empty());
        assert_eq!(times(log.take_all(PAUSE_MS + 2)), [1], "whoever reads the log sees all");
        assert!(log.take_all(PAUSE_MS + 3).is_empty());
    }

    #[test]
    fn a_flood_from_many_addresses_is_a_few_entries() {
        let log = RefusedLog::default();
        let told: usize = (0..100_000).map(|number| log.note(refused(&number.to_string(), number)).len()).sum();
        assert!(told <= 4 * (KEYS_MAX + 1), "{told} entries in 100 seconds");
        assert!(log.counted.lock().len() <= KEYS_MAX + 1);
    }
}
