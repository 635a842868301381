//! Faults on purpose, for tests: named places at which a run dies, fails or waits. Release builds have none of it.
//!
//! `TIDEMILL_FAILPOINTS=kafka.record=error@3,checkpoint.durable=kill@9`: the third time that the process comes to the first place, the
//! attempt fails there; the ninth time that it comes to the second, it ends at once. `delay:200` waits so many milliseconds.

use crate::Result;

/// All places, between a barrier and the end of its commit, and at a start.
pub const PLACES: &[&str] = &[
    "kafka.open",
    "kafka.opened",
    "kafka.claim",
    "kafka.prepare",
    "kafka.flushed",
    "checkpoint.taken",
    "checkpoint.durable",
    "kafka.record",
    "kafka.recorded",
    "kafka.ended",
    "checkpoint.committed",
];

/// The process has come to a place.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_place: &'static str) -> Result<()> {
    Ok(())
}

/// The process has come to a place.
#[cfg(debug_assertions)]
pub fn reach(place: &'static str) -> Result<()> {
    strike::at(place)
}

#[cfg(debug_assertions)]
mod strike {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::PLACES;
    use crate::{EngineError, Result};

    const VARIABLE: &str = "TIDEMILL_FAILPOINTS";

    #[derive(Debug, PartialEq)]
    enum Action {
        Kill,
        Error,
        Delay(Duration),
    }

    /// What is to happen where, and when.
    #[derive(Debug)]
    struct Fault {
        place: String,
        action: Action,
        /// Which time, from 1.
        time: u64,
        reached: AtomicU64,
    }

    pub fn at(place: &'static str) -> Result<()> {
        static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
        let faults = FAULTS.get_or_init(|| parse(&std::env::var(VARIABLE).unwrap_or_default()));
        debug_assert!(PLACES.contains(&place), "{place} is not in the list");
        for fault in faults.iter().filter(|fault| fault.place == place) {
            if fault.reached.fetch_add(1, Ordering::Relaxed) + 1 != fault.time {
                continue;
            }
            match fault.action {
                Action::Kill => std::process::abort(),
                Action::Delay(pause) => std::thread::sleep(pause),
                Action::Error => {
                    let reason = format!("{VARIABLE} asks for an error at {place}");
                    return Err(EngineError::Connector { connector: "test".into(), reason });
                }
            }
        }
        Ok(())
    }

    fn parse(text: &str) -> Vec<Fault> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let parse = |part: &str| {
            let (place, what) = part.split_once('=')?;
            let (action, time) = what.split_once('@')?;
            let action = match action.split_once(':') {
                None if action == "kill" => Action::Kill,
                None if action == "error" => Action::Error,
                Some(("delay", pause_ms)) => Action::Delay(Duration::from_millis(pause_ms.parse().ok()?)),
                _ => return None,
            };
            let place = PLACES.contains(&place).then(|| place.to_string())?;
            Some(Fault { place, action, time: time.parse().ok()?, reached: AtomicU64::new(0) })
        };
        parts.map(|part| parse(part).unwrap_or_else(|| panic!("{VARIABLE}: '{part}' is no fault"))).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn faults_are_read_from_one_line() {
            let faults = parse("kafka.record=error@3,kafka.open=delay:20@1,checkpoint.durable=kill@9");
            let read: Vec<_> = faults.iter().map(|fault| (fault.place.as_str(), &fault.action, fault.time)).collect();
            let pause = Action::Delay(Duration::from_millis(20));
            assert_eq!(
                read,
                [
                    ("kafka.record", &Action::Error, 3),
                    ("kafka.open", &pause, 1),
                    ("checkpoint.durable", &Action::Kill, 9)
                ]
            );
            assert!(parse("").is_empty());
        }
    }
}
