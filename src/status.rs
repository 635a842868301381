//! A job's status in one line, and its summary at the end.

use std::time::Duration;

use tidemill_engine::latency::LatencySummary;
use tidemill_engine::runtime::{
    EventTimeStatus, IdleSplit, JobState, JobStatus, JobSummary, NodeRole, NodeStatus, Outcome, WatermarkHolder,
};
use tidemill_engine::time::{EventTime, ProcessingTime};

/// Turns successive snapshots into lines; keeps the last one for rates.
#[derive(Default)]
pub struct StatusLine {
    last: Option<(Duration, u64, u64)>,
}

impl StatusLine {
    /// `12 s | in 1.2M (103k/s) | out 4,100 (310/s) | time 10:00:05 (lag 2 s) | checkpoint 12, 0.4 s ago, 2.3 MB | late 3`,
    /// with as much of it as `columns` characters hold.
    pub fn render(&mut self, status: &JobStatus, now: ProcessingTime, columns: usize) -> String {
        let (rows_in, rows_out) = totals(&status.nodes);
        let rows = Rows { total: (rows_in, rows_out), rates: self.rates(status.uptime, rows_in, rows_out) };
        let full = rows.line(status, now, Detail::Full);
        let lines = [full, rows.line(status, now, Detail::Plain), rows.line(status, now, Detail::Terse)];
        let terse = lines[2].clone();
        lines.into_iter().find(|line| line.chars().count() < columns).unwrap_or(terse)
    }

    fn rates(&mut self, uptime: Duration, rows_in: u64, rows_out: u64) -> (u64, u64) {
        let before = self.last.replace((uptime, rows_in, rows_out)).unwrap_or_default();
        let seconds = uptime.saturating_sub(before.0).as_secs_f64();
        let rate =
            |now: u64, then: u64| if seconds > 0.0 { (now.saturating_sub(then) as f64 / seconds) as u64 } else { 0 };
        (rate(rows_in, before.1), rate(rows_out, before.2))
    }
}

/// Time that moves on each second is not worth saying that it is held.
const HELD_MIN: Duration = Duration::from_secs(1);

/// How much the line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Full,
    /// Without what holds time back.
    Plain,
    /// Rates without totals, the time of day without its date.
    Terse,
}

/// Rows in and out.
struct Rows {
    total: (u64, u64),
    rates: (u64, u64),
}

impl Rows {
    fn line(&self, status: &JobStatus, now: ProcessingTime, detail: Detail) -> String {
        let flow = |name: &str, total: u64, rate: u64| match detail {
            Detail::Terse => format!("{name} {}/s", count(rate)),
            _ => format!("{name} {} ({}/s)", count(total), count(rate)),
        };
        let mut parts =
            vec![state_name(status), flow("in", self.total.0, self.rates.0), flow("out", self.total.1, self.rates.1)];
        parts.extend(unreachable(status, now));
        parts.extend(time_part(status, now, detail));
        parts.extend(backlog(&status.nodes).filter(|_| detail != Detail::Terse));
        let asked: i64 = status.nodes.iter().filter_map(|node| node.lookups_in_flight).sum();
        if asked > 0 && detail == Detail::Full {
            parts.push(format!("looking up {} keys", count(asked.unsigned_abs())));
        }
        parts.push(checkpoint_part(status, detail));
        for (name, value) in
            [("late", sum(&status.nodes, |node| node.late)), ("errors", sum(&status.nodes, |node| node.errors))]
        {
            if value > 0 {
                parts.push(format!("{name} {}", count(value)));
            }
        }
        parts.join(" | ")
    }
}

/// `Source(bids) unreachable for 12.0 s`: what cannot be reached shows at every width. Between attempts the state says what it is.
fn unreachable(status: &JobStatus, now: ProcessingTime) -> Option<String> {
    let nodes = status.nodes.iter().filter_map(|node| Some((node.unreachable_since?, format!("{} ", node.name))));
    let job = status.unreachable_since.map(|since| (since, String::new()));
    let (since, name) = job.or_else(|| nodes.min())?;
    let waited = Duration::from_millis(now.0.saturating_sub(since.0).max(0).unsigned_abs());
    Some(format!("{name}unreachable for {}", duration(waited)))
}

/// `1,200 records behind`
fn backlog(nodes: &[NodeStatus]) -> Option<String> {
    let backlog = nodes.iter().filter_map(|node| node.backlog).reduce(|a, b| a + b)?;
    Some(format!("{} records behind", count(backlog)))
}

fn state_name(status: &JobStatus) -> String {
    match status.state {
        JobState::Starting => "starting".into(),
        JobState::Running => format!("{} s", status.uptime.as_secs()),
        JobState::Restarting => format!("restarting ({})", status.last_error.as_deref().unwrap_or("after a failure")),
        JobState::Finished => "finished".into(),
        JobState::Failed => "failed".into(),
    }
}

/// Rows that sources gave and sinks took.
pub fn totals(nodes: &[NodeStatus]) -> (u64, u64) {
    let of = |role: NodeRole, rows: fn(&NodeStatus) -> u64| nodes.iter().filter(|n| n.role == role).map(rows).sum();
    (of(NodeRole::Source, |node| node.rows_out), of(NodeRole::Sink, |node| node.rows_in))
}

fn sum(nodes: &[NodeStatus], value: fn(&NodeStatus) -> u64) -> u64 {
    nodes.iter().map(value).sum()
}

fn time_part(status: &JobStatus, now: ProcessingTime, detail: Detail) -> Option<String> {
    let sources = || status.nodes.iter().filter(|node| node.role == NodeRole::Source);
    let known = Some(&status.event_time).filter(|_| detail == Detail::Full);
    let Some(watermark) = sources().filter_map(|node| node.watermark).min() else {
        let holder = known?.holder.as_ref()?;
        let waited = format!("no time yet: {} has given no row for {}", short(&holder.split), duration(holder.since));
        return Some(format!("{waited}{}", idle_part(&status.event_time.idle)));
    };
    if watermark == EventTime::MAX {
        return Some("time at its end".to_string());
    }
    let lag = Duration::from_millis(now.0.saturating_sub(watermark.0).max(0) as u64);
    if detail == Detail::Terse {
        let text = watermark.to_string();
        let clock = text.split([' ', '.']).nth(1).unwrap_or(&text);
        return Some(format!("{clock}, lag {}", duration(lag)));
    }
    let furthest = sources().filter_map(|node| node.event_time_max).max();
    let held = known.map(|known| held_back(known, furthest)).unwrap_or_default();
    Some(format!("time {watermark} (lag {}{held})", duration(lag)))
}

/// What holds time back, and what does not.
fn held_back(time: &EventTimeStatus, furthest: Option<EventTime>) -> String {
    let held = time.holder.as_ref().map(|holder| held_by(holder, furthest)).unwrap_or_default();
    format!("{held}{}", idle_part(&time.idle))
}

/// `; idle: a.json, b.json and 3 more`
fn idle_part(idle: &[IdleSplit]) -> String {
    const NAMED: usize = 2;
    if idle.is_empty() {
        return String::new();
    }
    let names: Vec<String> = idle.iter().take(NAMED).map(|idle| short(&idle.split)).collect();
    let more = match idle.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; idle: {}{more}", names.join(", "))
}

/// Which split holds time back since when, where that is worth a word, and how far it is behind the latest row of all sources.
fn held_by(holder: &WatermarkHolder, furthest: Option<EventTime>) -> String {
    let behind_ms = furthest.map_or(0, |furthest| furthest.0.saturating_sub(holder.watermark.0).max(0));
    let behind = match behind_ms {
        0 => String::new(),
        behind => format!(", {} behind the latest row", duration(Duration::from_millis(behind as u64))),
    };
    let since = if holder.since < HELD_MIN { String::new() } else { format!(" for {}", duration(holder.since)) };
    format!(", held by {}{since}{behind}", short(&holder.split))
}

/// The end of a long name tells more than its beginning.
fn short(name: &str) -> String {
    const SHOWN: usize = 24;
    let length = name.chars().count();
    if length <= SHOWN {
        name.to_string()
    } else {
        format!("…{}", name.chars().skip(length - SHOWN).collect::<String>())
    }
}

fn checkpoint_part(status: &JobStatus, detail: Detail) -> String {
    match (status.checkpoint.last_age, status.checkpoint.last_bytes) {
        (Some(age), Some(bytes)) if detail == Detail::Terse => {
            format!("checkpoint {} ago, {}", duration(age), size(bytes))
        }
        (Some(age), Some(bytes)) => {
            let commit = status.checkpoint.last_commit.filter(|_| detail == Detail::Full);
            let commit = commit.map(|commit| format!(" (commit {})", duration(commit))).unwrap_or_default();
            format!("checkpoint {}{commit}, {} ago, {}", status.epoch, duration(age), size(bytes))
        }
        _ => "no checkpoint yet".to_string(),
    }
}

/// What is said when a job ended well.
pub fn summary(summary: &JobSummary) -> String {
    let seconds = summary.uptime.as_secs_f64().max(0.001);
    let (rows_in, rows_out) = totals(&summary.nodes);
    let ended = match summary.outcome {
        Outcome::Finished => "finished: the input is read to its end",
        Outcome::Satisfied => "finished: LIMIT has its rows, so nothing more is read",
        Outcome::Stopped => "stopped with a final checkpoint; the same command resumes",
        Outcome::Cancelled => "cancelled; the same command resumes from the last checkpoint",
        Outcome::AlreadyComplete => "nothing to do: this state directory holds a finished job (--fresh runs it again)",
    };
    let mut lines = vec![ended.to_string()];
    if summary.outcome != Outcome::AlreadyComplete {
        lines.push(format!(
            "{} rows in, {} rows out in {} ({} rows/s)",
            count(rows_in),
            count(rows_out),
            duration(summary.uptime),
            count((rows_in as f64 / seconds) as u64)
        ));
        lines.extend(summary.nodes.iter().filter_map(latency));
        lines.extend(summary.nodes.iter().filter_map(lookups));
        lines.extend(summary.nodes.iter().filter_map(left_unread));
        lines.extend(losses(&summary.nodes));
        lines.extend(time_left(&summary.event_time));
    }
    lines.extend(summary.notes.iter().map(|note| format!("note: {note}")));
    lines.join("\n")
}

/// `results: half within 0.8 ms of being read, 99 % within 5.1 ms, 99.9 % within 9.0 ms`
fn latency(sink: &NodeStatus) -> Option<String> {
    let LatencySummary { p50, p99, p999, .. } = sink.latency?;
    let ms = |latency: Duration| format!("{:.1} ms", latency.as_secs_f64() * 1e3);
    Some(format!(
        "{}: half of the rows within {} of being read, 99 % within {}, 99.9 % within {}",
        sink.name,
        ms(p50),
        ms(p99),
        ms(p999)
    ))
}

/// `LookupJoin: 1,200 requests for 5,000 rows (76 % were known), 3 failed, 3 were sent again`
fn lookups(node: &NodeStatus) -> Option<String> {
    let of = node.lookups;
    let rows = of.hits + of.misses;
    if rows == 0 {
        return None;
    }
    let known = of.hits * 100 / rows;
    let mut text =
        format!("{}: {} requests for {} rows ({known} % were known)", node.name, count(of.requests), count(rows));
    for (value, what) in [(of.failures, "failed"), (of.retries, "were sent again")] {
        if value > 0 {
            text.push_str(&format!(", {} {what}", count(value)));
        }
    }
    Some(text)
}

/// `Source(bids): 1,200 records were not read yet`
fn left_unread(node: &NodeStatus) -> Option<String> {
    let backlog = node.backlog.filter(|backlog| *backlog > 0)?;
    Some(format!("{}: {} records were not read yet", node.name, count(backlog)))
}

/// Why the last windows have not closed: which splits held time back to the end, and which were quiet.
fn time_left(time: &EventTimeStatus) -> Vec<String> {
    let held = time.holder.as_ref().filter(|holder| holder.since >= HELD_MIN).map(|holder| {
        let at = match holder.watermark {
            EventTime::MIN => "before its first row".to_owned(),
            watermark => format!("at {watermark}"),
        };
        format!("time was held {at} by {} of {} for {}", holder.split, holder.source, duration(holder.since))
    });
    let idle = time.idle.iter().map(|idle| format!("{} of {}", idle.split, idle.source)).collect::<Vec<_>>();
    let idle = (!idle.is_empty()).then(|| format!("idle in the end: {}", listed(&idle)));
    held.into_iter().chain(idle).collect()
}

/// The first few of a list, and how many more there are.
fn listed(names: &[String]) -> String {
    const NAMED: usize = 8;
    match names.len().saturating_sub(NAMED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..NAMED].join(", ")),
    }
}

pub fn losses(nodes: &[NodeStatus]) -> Vec<String> {
    let late = nodes.iter().filter(|node| node.late > 0);
    let late =
        late.map(|node| format!("{} late rows at {} (read them from `<table>$late`)", count(node.late), node.name));
    let errors = nodes.iter().filter(|node| node.errors > 0);
    let errors =
        errors.map(|node| format!("{} at {} (read them from `<table>$errors`)", bad_records(node.errors), node.name));
    late.chain(errors).collect()
}

fn bad_records(errors: u64) -> String {
    if errors == 1 { "1 bad record".into() } else { format!("{} bad records", count(errors)) }
}

/// `950`, `12,345`, `1.2M`.
pub fn count(value: u64) -> String {
    match value {
        0..=99_999 => thousands(value),
        100_000..=999_999 => format!("{}k", value / 1_000),
        1_000_000..=999_999_999 => format!("{:.1}M", value as f64 / 1e6),
        _ => format!("{:.2}G", value as f64 / 1e9),
    }
}

fn thousands(value: u64) -> String {
    if value < 1_000 { value.to_string() } else { format!("{},{:03}", value / 1_000, value % 1_000) }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=999_999 => format!("{} kB", bytes / 1_000),
        1_000_000..=999_999_999 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

pub fn duration(duration: Duration) -> String {
    match duration.as_millis() {
        0..=99 => format!("{} ms", duration.as_millis()),
        100..=99_999 => format!("{:.1} s", duration.as_secs_f64()),
        100_000..=7_199_999 => format!("{} min", duration.as_secs() / 60),
        7_200_000..=172_799_999 => format!("{} h", duration.as_secs() / 3_600),
        _ => format!("{} days", duration.as_secs() / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_time_back_and_what_does_not_is_named() {
        let idle = |split: &str| IdleSplit { source: "Source t".into(), split: split.into() };
        let holder = |seconds| WatermarkHolder {
            source: "Source t".into(),
            split: "slow.json".into(),
            watermark: EventTime(60_000),
            since: Duration::from_secs(seconds),
        };
        let mut time = EventTimeStatus { holder: Some(holder(0)), idle: Vec::new() };
        assert_eq!(held_back(&time, Some(EventTime(60_000))), ", held by slow.json");
        time.holder = Some(holder(12));
        time.idle = ["a", "b", "c"].map(idle).to_vec();
        let line = ", held by slow.json for 12.0 s, 5.0 s behind the latest row; idle: a, b and 1 more";
        assert_eq!(held_back(&time, Some(EventTime(65_000))), line);
        let lines = [
            "time was held at 1970-01-01 00:01:00.000 by slow.json of Source t for 12.0 s",
            "idle in the end: a of Source t, b of Source t, c of Source t",
        ];
        assert_eq!(time_left(&time), lines);
        assert!(time_left(&EventTimeStatus::default()).is_empty());
    }

    #[test]
    fn figures_are_short() {
        let counts = [0, 999, 1_000, 99_999, 123_456, 1_234_567, 2_000_000_000].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "99,999", "123k", "1.2M", "2.00G"]);
        let durations = [5, 1_500, 120_000, 7_200_000, 864_000_000].map(|ms| duration(Duration::from_millis(ms)));
        assert_eq!(durations, ["5 ms", "1.5 s", "2 min", "2 h", "10 days"]);
        assert_eq!([12, 12_345, 12_345_678].map(size), ["12 B", "12 kB", "12.3 MB"]);
    }
}
