//! Whether brokers can be reached, as the clients of a sink see it, and whether anybody still wants to wait for them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use serde::Deserialize;
use tidemill_engine::sink::SinkHealth;
use tidemill_engine::time::ProcessingTime;

/// Set once, when the job is to end.
#[derive(Debug, Default)]
pub struct Interrupt(AtomicBool);

impl Interrupt {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Follows the statistics of clients that write.
#[derive(Debug, Default)]
pub struct Lifeline {
    connections: Mutex<Vec<Weak<Connection>>>,
}

/// What one client says of its connections.
#[derive(Debug)]
pub struct Connection {
    /// It speaks with a broker all the time; another is cut off by brokers where it has nothing to say.
    always: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the first of the statistics came that knew of no connection.
    down_since: Option<ProcessingTime>,
    /// It was not the only one: a connection that is just being opened is none yet.
    confirmed: bool,
}

/// What is read of librdkafka's statistics.
#[derive(Debug, Deserialize)]
struct Statistics {
    /// Messages that are not acknowledged yet.
    msg_cnt: u64,
    brokers: HashMap<String, BrokerState>,
}

#[derive(Debug, Deserialize)]
struct BrokerState {
    state: String,
}

impl Connection {
    pub fn take(&self, json: &[u8], now: ProcessingTime) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(json) else { return };
        let up = statistics.brokers.values().any(|broker| matches!(broker.state.as_str(), "UP" | "UPDATE"));
        let mut state = self.state.lock();
        if up || (!self.always && statistics.msg_cnt == 0) {
            *state = State::default();
        } else {
            state.confirmed = state.down_since.is_some();
            state.down_since.get_or_insert(now);
        }
    }

    /// As far as the last statistics knew.
    pub fn is_down(&self) -> bool {
        self.state.lock().down_since.is_some()
    }

    fn down_since(&self) -> Option<ProcessingTime> {
        let state = self.state.lock();
        state.down_since.filter(|_| state.confirmed)
    }
}

impl Lifeline {
    /// One more client; it is forgotten when it is dropped.
    pub fn connection(&self, always: bool) -> Arc<Connection> {
        let connection = Arc::new(Connection { always, state: Mutex::default() });
        let mut connections = self.connections.lock();
        connections.retain(|other| other.strong_count() > 0);
        connections.push(Arc::downgrade(&connection));
        connection
    }

    pub fn health(&self) -> SinkHealth {
        let connections = self.connections.lock();
        let down = connections.iter().filter_map(|connection| connection.upgrade()?.down_since());
        SinkHealth { unreachable_since: down.min() }
    }

    /// Nobody wants to wait any more for brokers that cannot be reached.
    pub fn is_given_up(&self, interrupt: &Interrupt) -> bool {
        interrupt.is_set() && self.health().unreachable_since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(messages: u64, states: [&str; 2]) -> String {
        let [one, other] = states;
        format!(
            r#"{{"name": "p", "msg_cnt": {messages}, "brokers": {{"a": {{"state": "{one}", "tx": 1}}, "b": {{"state": "{other}"}}}}}}"#
        )
    }

    #[test]
    fn brokers_are_out_of_reach_while_there_is_no_connection_and_something_to_say() {
        let line = Lifeline::default();
        let (steady, other) = (line.connection(true), line.connection(false));
        let since_after = |connection: &Connection, messages, states, now| {
            connection.take(json(messages, states).as_bytes(), ProcessingTime(now));
            line.health().unreachable_since
        };
        assert_eq!(since_after(&steady, 1, ["DOWN", "TRY_CONNECT"], 1), None, "it may just be opening one");
        assert_eq!(since_after(&steady, 1, ["DOWN", "CONNECT"], 2), Some(ProcessingTime(1)));
        assert_eq!(since_after(&other, 0, ["DOWN", "DOWN"], 3), Some(ProcessingTime(1)), "that one needs none");
        assert!(!line.is_given_up(&Interrupt::default()));
        let interrupt = Interrupt::default();
        interrupt.set();
        assert!(line.is_given_up(&interrupt));
        assert_eq!(since_after(&steady, 1, ["DOWN", "UP"], 4), None);
        assert_eq!(since_after(&other, 0, ["DOWN", "DOWN"], 5), None, "nobody needs one");
        assert_eq!(since_after(&other, 7, ["DOWN", "DOWN"], 6), None);
        assert_eq!(since_after(&other, 7, ["DOWN", "DOWN"], 7), Some(ProcessingTime(6)));
        drop(other);
        assert_eq!(line.health().unreachable_since, None);
    }
}
