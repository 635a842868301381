//! Faults on purpose, for tests: named places at which a run dies, fails or waits. Release builds have none of it.
//!
//! `TIDEMILL_FAILPOINTS=kafka.record=error@3,checkpoint.durable=kill@9`: the third time that the process comes to the first place, the
//! attempt fails there; the ninth time after that that it comes to the second, it ends at once. `delay:200` waits so many milliseconds,
//! `panic` is what a defect does.
//! Each fault counts from when the one before it has struck, so that a fault which struck proves that those before it did.

use crate::Result;

/// Places between a barrier and the end of its commit, and at a start.
pub const PLACES: &[&str] = &[
    "kafka.open",
    "kafka.opened",
    "kafka.claim",
    "kafka.prepare",
    "kafka.prepared",
    "checkpoint.taken",
    "checkpoint.durable",
    "kafka.record",
    "kafka.recorded",
    "kafka.ended",
    "checkpoint.committed",
];

/// Places that only jobs with a certain connector come to.
#[cfg(debug_assertions)]
const CONNECTOR_PLACES: &[&str] = &["datagen.rows"];

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
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::Duration;

    use super::{CONNECTOR_PLACES, PLACES};
    use crate::{EngineError, Result};

    const VARIABLE: &str = "TIDEMILL_FAILPOINTS";

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Action {
        Kill,
        Error,
        Panic,
        Delay(Duration),
    }

    /// What is to happen where, and when.
    #[derive(Debug, PartialEq)]
    struct Fault {
        place: String,
        action: Action,
        /// Which time, from 1.
        time: u64,
    }

    /// What is still to happen.
    #[derive(Debug)]
    struct Course {
        /// The next one first.
        faults: std::vec::IntoIter<Fault>,
        /// How often the next one's place was come to.
        reached: u64,
    }

    impl Course {
        fn of(text: &str) -> Self {
            Self { faults: parse(text).into_iter(), reached: 0 }
        }

        fn reach(&mut self, place: &str) -> Option<Action> {
            let next = self.faults.as_slice().first().filter(|fault| fault.place == place)?;
            self.reached += 1;
            if self.reached < next.time {
                return None;
            }
            self.reached = 0;
            self.faults.next().map(|fault| fault.action)
        }
    }

    pub fn at(place: &'static str) -> Result<()> {
        static COURSE: LazyLock<Mutex<Course>> =
            LazyLock::new(|| Mutex::new(Course::of(&std::env::var(VARIABLE).unwrap_or_default())));
        debug_assert!(is_known(place), "{place} is in no list");
        // Given back before the fault: while one thread waits here, others go on, and may meet the next fault.
        let action = COURSE.lock().unwrap_or_else(PoisonError::into_inner).reach(place);
        match action {
            None => Ok(()),
            Some(Action::Kill) => std::process::abort(),
            Some(Action::Panic) => panic!("{VARIABLE} asks for a panic at {place}"),
            Some(Action::Delay(pause)) => {
                std::thread::sleep(pause);
                Ok(())
            }
            Some(Action::Error) => {
                let reason = format!("{VARIABLE} asks for an error at {place}");
                Err(EngineError::Connector { connector: "test".into(), reason })
            }
        }
    }

    fn is_known(place: &str) -> bool {
        PLACES.contains(&place) || CONNECTOR_PLACES.contains(&place)
    }

    fn parse(text: &str) -> Vec<Fault> {
        let parts = text.split(',').filter(|part| !part.is_empty());
        let parse = |part: &str| {
            let (place, what) = part.split_once('=')?;
            let (action, time) = what.split_once('@')?;
            let action = match action.split_once(':') {
                None if action == "kill" => Action::Kill,
                None if action == "error" => Action::Error,
                None if action == "panic" => Action::Panic,
                Some(("delay", pause_ms)) => Action::Delay(Duration::from_millis(pause_ms.parse().ok()?)),
                _ => return None,
            };
            let place = is_known(place).then(|| place.to_string())?;
            Some(Fault { place, action, time: time.parse().ok()? })
        };
        parts.map(|part| parse(part).unwrap_or_else(|| panic!("{VARIABLE}: '{part}' is no fault"))).collect()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn faults_are_read_from_one_line_and_strike_one_after_the_other() {
            let mut course = Course::of("kafka.record=error@2,kafka.open=delay:20@1,kafka.record=kill@2");
            let mut reach =
                |places: &[&str]| -> Vec<Option<Action>> { places.iter().map(|place| course.reach(place)).collect() };
            assert_eq!(reach(&["kafka.open", "kafka.record", "kafka.record"]), [None, None, Some(Action::Error)]);
            let delay = Action::Delay(Duration::from_millis(20));
            assert_eq!(reach(&["kafka.record", "kafka.record", "kafka.open"]), [None, None, Some(delay)]);
            assert_eq!(reach(&["kafka.record", "kafka.record"]), [None, Some(Action::Kill)]);
            assert_eq!(reach(&["kafka.record", "kafka.open"]), [None, None]);
            assert!(parse("").is_empty());
        }
    }
}
