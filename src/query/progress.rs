//! How far a running query is: how much it read, how fast, up to which time, and why no row comes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tidemill_engine::runtime::{JobState, JobStatus, NodeRole, NodeStatus};
use tidemill_engine::time::EventTime;

use crate::status::duration;

/// Rates are those of so long a time.
const RATE_WINDOW: Duration = Duration::from_secs(2);
/// A result in which nothing moved for so long is one that waits.
const WAITING_MIN: Duration = Duration::from_secs(1);

/// A query at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    pub uptime: Duration,
    /// By all sources.
    pub rows_read: u64,
    pub rows_per_second: u64,
    /// Of all sources together.
    pub watermark: Option<EventTime>,
    /// `waiting because ...`, where nothing moves.
    pub waiting: Option<String>,
}

/// Remembers enough of the past for rates.
pub struct ProgressMeter {
    /// Some results of a bounded input are known at its end only.
    bounded: bool,
    /// When, and how many rows had been read.
    read: VecDeque<(Instant, u64)>,
    /// When the result moved last, and what had gone to it then.
    moved: Option<(Instant, u64)>,
}

impl ProgressMeter {
    pub fn new(bounded: bool) -> Self {
        Self { bounded, read: VecDeque::new(), moved: None }
    }

    pub fn of(&mut self, status: &JobStatus) -> Progress {
        let rows_read = total(&status.nodes, NodeRole::Source, |node| node.rows_out);
        let waits = self.waits(total(&status.nodes, NodeRole::Sink, |node| node.rows_in));
        Progress {
            uptime: status.uptime,
            rows_read,
            rows_per_second: self.rate(rows_read),
            watermark: watermark(&status.nodes),
            waiting: waits.then(|| reason(status, rows_read, self.bounded)),
        }
    }

    fn rate(&mut self, read: u64) -> u64 {
        let now = Instant::now();
        while self.read.len() > 1 && self.read.front().is_some_and(|(then, _)| now - *then > RATE_WINDOW) {
            self.read.pop_front();
        }
        self.read.push_back((now, read));
        let Some((then, before)) = self.read.front() else { return 0 };
        let seconds = (now - *then).as_secs_f64();
        if seconds < 0.1 { 0 } else { (read.saturating_sub(*before) as f64 / seconds) as u64 }
    }

    fn waits(&mut self, written: u64) -> bool {
        let now = Instant::now();
        let (since, before) = *self.moved.get_or_insert((now, written));
        if before != written {
            self.moved = Some((now, written));
        }
        before == written && now - since >= WAITING_MIN
    }
}

fn total(nodes: &[NodeStatus], role: NodeRole, rows: fn(&NodeStatus) -> u64) -> u64 {
    nodes.iter().filter(|node| node.role == role).map(rows).sum()
}

fn watermark(nodes: &[NodeStatus]) -> Option<EventTime> {
    let sources = nodes.iter().filter(|node| node.role == NodeRole::Source);
    sources.filter_map(|node| node.watermark).min().filter(|time| *time != EventTime::MAX)
}

/// Why no row comes.
fn reason(status: &JobStatus, read: u64, bounded: bool) -> String {
    if status.state == JobState::Starting {
        return "waiting because it is starting".into();
    }
    let sources = || status.nodes.iter().filter(|node| node.role == NodeRole::Source);
    if let Some(lost) = sources().find(|node| node.unreachable_since.is_some()) {
        return format!("waiting because {} cannot be reached", lost.name);
    }
    let quiet = sources().find(|node| node.rows_out == 0);
    if let Some(quiet) = quiet.filter(|_| read == 0 || sources().count() > 1) {
        return format!("waiting because {} has given no row yet", quiet.name);
    }
    match &status.event_time.holder {
        Some(holder) if holder.watermark == EventTime::MIN => {
            format!("waiting because {} of {} holds time: it has given no row", holder.split, holder.source)
        }
        Some(holder) if holder.since >= WAITING_MIN => {
            let since = duration(holder.since);
            format!("waiting because {} of {} holds time for {since}", holder.split, holder.source)
        }
        Some(_) => "waiting because no window has closed yet: time has to pass its end".into(),
        None if bounded => "waiting because the input has not ended yet".into(),
        None => "waiting because none of the rows read so far changes the result".into(),
    }
}

#[cfg(test)]
mod tests {
    use tidemill_engine::runtime::{EventTimeStatus, WatermarkHolder};

    use super::*;

    fn status(rows_out: u64, holder: Option<EventTime>) -> JobStatus {
        let source = NodeStatus {
            name: "Source(t)".into(),
            uid: "t".into(),
            role: NodeRole::Source,
            rows_in: rows_out,
            rows_out,
            bytes_in: 0,
            late: 0,
            errors: 0,
            filtered: 0,
            spilled: 0,
            lookups: Default::default(),
            lookups_in_flight: None,
            cache_bytes: None,
            watermark: None,
            event_time_max: None,
            backlog: None,
            unreachable_since: None,
            latency: None,
            stage: "Source(t)".into(),
            instances: 1,
            time: Default::default(),
            rates: Default::default(),
        };
        let holder = holder.map(|watermark| WatermarkHolder {
            source: "Source(t)".into(),
            split: "a.json".into(),
            watermark,
            since: Duration::from_secs(7),
        });
        JobStatus {
            state: JobState::Running,
            job_name: "query".into(),
            job_id: "1".into(),
            parallelism: 1,
            uptime: Duration::from_secs(3),
            epoch: tidemill_engine::Epoch::ZERO,
            checkpoint: Default::default(),
            nodes: vec![source],
            attempts: 0,
            restarts: 0,
            last_error: None,
            unreachable_since: None,
            notes: Vec::new(),
            event_time: EventTimeStatus { holder, idle: Vec::new() },
        }
    }

    #[test]
    fn it_is_said_why_nothing_comes() {
        let reasons = [
            reason(&status(0, None), 0, true),
            reason(&status(5, None), 5, true),
            reason(&status(5, None), 5, false),
            reason(&status(5, Some(EventTime::MIN)), 5, false),
            reason(&status(5, Some(EventTime(1_000))), 5, false),
        ];
        assert_eq!(
            reasons,
            [
                "waiting because Source(t) has given no row yet",
                "waiting because the input has not ended yet",
                "waiting because none of the rows read so far changes the result",
                "waiting because a.json of Source(t) holds time: it has given no row",
                "waiting because a.json of Source(t) holds time for 7.0 s",
            ]
        );
    }
}
