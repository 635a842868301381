//! From figures to the lines of a screen of some size. Touches no terminal.

use std::cmp::Reverse;

use clap::ValueEnum;

use super::figures::{JobDetail, JobRow, OperatorRow};
use super::text::{bar, count, duration, latency};
use crate::repl::cells::cut;

/// A narrower or lower screen shows what fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Plain,
    Head,
    Chosen,
    /// Something is wrong.
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub look: Look,
}

/// What jobs are sorted by; numbers from the largest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    Name,
    Phase,
    Input,
    Output,
    Backlog,
    Lag,
    State,
    Busy,
}

impl Sort {
    pub fn next(self) -> Self {
        let all = Self::value_variants();
        let at = all.iter().position(|one| *one == self).unwrap_or(0);
        all[(at + 1) % all.len()]
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Phase => "phase",
            Self::Input => "input",
            Self::Output => "output",
            Self::Backlog => "backlog",
            Self::Lag => "lag",
            Self::State => "state",
            Self::Busy => "busy",
        }
    }
}

/// One line of a screen of this size.
pub fn clip_to(text: &str, size: Size) -> String {
    cut(text, size.columns)
}

/// Jobs of equal rank by name.
pub fn sorted(mut jobs: Vec<JobRow>, by: Sort) -> Vec<JobRow> {
    let tenths = |rate: Option<f64>| rate.map_or(0, |rate| (rate * 10.0) as u64);
    jobs.sort_by(|a, b| a.name.cmp(&b.name));
    match by {
        Sort::Name => {}
        Sort::Phase => jobs.sort_by(|a, b| a.phase.cmp(&b.phase)),
        Sort::Input => jobs.sort_by_key(|job| Reverse(tenths(job.rows_in))),
        Sort::Output => jobs.sort_by_key(|job| Reverse(tenths(job.rows_out))),
        Sort::Backlog => jobs.sort_by_key(|job| Reverse(job.backlog)),
        Sort::Lag => jobs.sort_by_key(|job| Reverse(job.time_lag_ms)),
        Sort::State => jobs.sort_by_key(|job| Reverse(job.state_bytes)),
        Sort::Busy => jobs.sort_by_key(|job| Reverse(job.busy)),
    }
    jobs
}

/// Between a name and the end of the line: the other columns of the list.
const LIST_FIXED: usize = 63;
const NAME_MIN: usize = 8;
const NAME_MAX: usize = 32;

fn shown<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_string(), text)
}

fn percent(share: u64) -> String {
    format!("{}%", (share + 5) / 10)
}

/// The jobs, with the chosen one in sight.
pub fn list(jobs: &[JobRow], chosen: Option<usize>, size: Size) -> Vec<Line> {
    let longest = jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    let room = size.columns.saturating_sub(LIST_FIXED).clamp(NAME_MIN, NAME_MAX);
    let width = longest.clamp(NAME_MIN, room);
    let head = format!(
        "{:width$} {:10} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>3} {:>4}",
        "NAME", "PHASE", "IN/s", "OUT/s", "BACKLOG", "LAG", "CKPT", "STATE", "RST", "BUSY"
    );
    let mut lines = vec![Line { text: cut(&head, size.columns), look: Look::Head }];
    let rows = size.rows.saturating_sub(1);
    for (index, job) in in_sight(jobs, chosen, rows) {
        let look = match (chosen == Some(index), job.phase.as_str()) {
            (true, _) => Look::Chosen,
            (_, "failed" | "restarting") => Look::Bad,
            _ => Look::Plain,
        };
        lines.push(Line { text: cut(&job_line(job, width), size.columns), look });
    }
    if jobs.is_empty() {
        lines.push(Line { text: "there are no jobs".into(), look: Look::Plain });
    }
    lines
}

fn job_line(job: &JobRow, width: usize) -> String {
    let line = format!(
        "{:width$} {:10} {:>6} {:>6} {:>7} {:>6} {:>6} {:>6} {:>3} {:>4}",
        cut(&job.name, width),
        job.phase,
        shown(job.rows_in, count),
        shown(job.rows_out, count),
        shown(job.backlog, |rows| count(rows as f64)),
        shown(job.time_lag_ms, duration),
        shown(job.checkpoint_age_ms, duration),
        shown(job.state_bytes, super::text::size),
        job.restarts,
        shown(job.busy, percent),
    );
    match job.error.lines().next() {
        Some(error) => format!("{line}  {error}"),
        None => line,
    }
}

/// As many as there is room for, with their places.
fn in_sight<T>(all: &[T], chosen: Option<usize>, rows: usize) -> impl Iterator<Item = (usize, &T)> {
    let first = chosen.unwrap_or(0).saturating_sub(rows.saturating_sub(1));
    all.iter().enumerate().skip(first).take(rows)
}

/// Between the name of an operator and the end of the line.
const DETAIL_FIXED: usize = 55;
const BAR: usize = 8;

/// One job with its operators.
pub fn detail(job: &JobDetail, size: Size) -> Vec<Line> {
    let plain = |text: String| Line { text: cut(&text, size.columns), look: Look::Plain };
    let bad = |text: String| Line { text: cut(&text, size.columns), look: Look::Bad };
    let mut lines = vec![plain(summary(job)), plain(checkpoints(job))];
    let longest = job.operators.iter().map(|one| name_of(one).chars().count()).max().unwrap_or(0);
    let width = longest.clamp(NAME_MIN, size.columns.saturating_sub(DETAIL_FIXED).max(NAME_MIN));
    let head = format!(
        "{:width$} {:>3} {:>6} {:>6} {:13} {:13} {:>6}",
        "OPERATOR", "x", "IN/s", "OUT/s", "BUSY", "BACK-PRESSURE", "LAG"
    );
    lines.push(Line { text: cut(&head, size.columns), look: Look::Head });
    lines.extend(job.operators.iter().map(|operator| plain(operator_line(operator, width))));
    if job.operators.is_empty() {
        lines.push(plain("it has not run since the server started".into()));
    }
    for operator in &job.operators {
        let latencies = operator.latency.map(|[p50, p99, p999, max]| {
            let [p50, p99, p999, max] = [p50, p99, p999, max].map(latency);
            format!("latency at {}: p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}", operator.name)
        });
        lines.extend(latencies.map(plain));
        if operator.late + operator.errors > 0 {
            let text = format!("{}: {} late rows, {} bad records", operator.name, operator.late, operator.errors);
            lines.push(plain(text));
        }
    }
    lines.extend(job.remarks.iter().cloned().map(plain));
    lines.extend(job.error.lines().enumerate().map(|(index, line)| match index {
        0 => bad(format!("last error: {line}")),
        _ => bad(line.to_string()),
    }));
    lines.truncate(size.rows);
    lines
}

fn summary(job: &JobDetail) -> String {
    let uptime = job.uptime_ms.map_or_else(String::new, |ms| format!(", up {}", duration(ms)));
    let parallelism = job.parallelism.map_or_else(String::new, |count| format!(", parallelism {count}"));
    format!("{} is {}{uptime}{parallelism}, {} restarts", job.name, job.phase, job.restarts)
}

fn checkpoints(job: &JobDetail) -> String {
    match (job.checkpoint_age_ms, job.checkpoint_ms) {
        (Some(age), took) => format!(
            "checkpoint {} {} ago, took {}, state {}",
            job.epoch,
            duration(age),
            shown(took, duration),
            shown(job.state_bytes, super::text::size)
        ),
        (None, _) => "no checkpoint in this run yet".to_string(),
    }
}

/// Chained operators stand below the head of their task, whose thread they share.
fn name_of(operator: &OperatorRow) -> String {
    if operator.is_chained { format!("  {}", operator.name) } else { operator.name.clone() }
}

fn operator_line(operator: &OperatorRow, width: usize) -> String {
    let shares = match operator.is_chained {
        true => format!("{:27}", ""),
        false => {
            let (busy, back) = (operator.busy, operator.back_pressured);
            format!("{} {:>4} {} {:>4}", bar(busy, BAR), percent(busy), bar(back, BAR), percent(back))
        }
    };
    format!(
        "{:width$} {:>3} {:>6} {:>6} {shares} {:>6}",
        cut(&name_of(operator), width),
        operator.instances,
        count(operator.rows_in),
        count(operator.rows_out),
        shown(operator.time_lag_ms, duration),
    )
}

pub const HELP: &[&str] = &[
    "up, down, page up, page down, home, end   choose a job",
    "enter      show its operators; escape, left or q goes back",
    "s          sort by the next column",
    "q          leave",
    "",
    "IN/s, OUT/s    rows of all sources and sinks, lately",
    "BACKLOG        records that are there and not read yet",
    "LAG            wall time minus watermark",
    "CKPT           age of the last checkpoint",
    "STATE          size of the state that it names",
    "RST            restarts after failures",
    "BUSY           share of its time that the busiest task works",
    "",
    "BACK-PRESSURE  share of its time that a task waits for those behind it:",
    "               the first task below it that does not is the bottleneck",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, phase: &str, rows_in: f64) -> JobRow {
        JobRow {
            name: name.into(),
            phase: phase.into(),
            rows_in: Some(rows_in),
            rows_out: Some(1.5),
            backlog: Some(12_345),
            time_lag_ms: Some(5_200),
            checkpoint_age_ms: Some(800),
            state_bytes: Some(1 << 20),
            restarts: 2,
            busy: Some(455),
            error: if phase == "failed" { "it broke\nbadly".into() } else { String::new() },
        }
    }

    #[test]
    fn every_line_fits_and_the_chosen_job_is_in_sight() {
        let jobs: Vec<JobRow> =
            (0..50).map(|n| job(&format!("a-job-of-some-name-{n:02}"), "running", n as f64)).collect();
        for columns in [1, 20, 80, 200] {
            for (rows, chosen) in [(1, 0), (5, 0), (5, 49), (24, 30)] {
                let lines = list(&jobs, Some(chosen), Size { columns, rows });
                assert!(lines.len() <= rows.max(1) && lines.iter().all(|line| line.text.chars().count() <= columns));
                let seen = lines.iter().any(|line| line.look == Look::Chosen);
                assert_eq!(seen, rows > 1, "{columns}x{rows}, {chosen}");
            }
        }
        let line = &list(&jobs[..1], None, Size { columns: 80, rows: 24 })[1].text;
        assert_eq!(line, "a-job-of-some-na… running         0    1.5   12.3k   5.2s  800ms    1MB   2  46%");
    }

    #[test]
    fn jobs_are_sorted_and_failed_ones_stand_out() {
        let jobs = vec![job("b", "running", 1.0), job("a", "failed", 1.0), job("c", "running", 7.0)];
        let names = |by| sorted(jobs.clone(), by).into_iter().map(|job| job.name).collect::<String>();
        assert_eq!(
            (names(Sort::Name), names(Sort::Input), names(Sort::Phase)),
            ("abc".into(), "cab".into(), "abc".into())
        );
        let lines = list(&jobs, None, Size { columns: 120, rows: 9 });
        assert!(lines[2].look == Look::Bad && lines[2].text.ends_with("46%  it broke"), "{:?}", lines[2]);
        assert_eq!(Sort::value_variants().iter().fold(Sort::Name, |sort, _| sort.next()), Sort::Name);
    }

    #[test]
    fn operators_show_what_holds_them_up() {
        let operator = |name: &str, is_chained: bool| OperatorRow {
            name: name.into(),
            instances: 2,
            rows_in: 1_000.0,
            rows_out: 10.0,
            busy: 990,
            back_pressured: 10,
            time_lag_ms: None,
            late: 3,
            errors: 0,
            latency: is_chained.then_some([900, 1_500, 9_000, 120_000]),
            is_chained,
        };
        let job = JobDetail {
            name: "j".into(),
            phase: "running".into(),
            operators: vec![operator("Source(t)", false), operator("Sink(u)", true)],
            error: "one\ntwo".into(),
            ..JobDetail::default()
        };
        let texts: Vec<String> =
            detail(&job, Size { columns: 80, rows: 24 }).into_iter().map(|line| line.text).collect();
        assert_eq!(
            texts,
            [
                "j is running, 0 restarts",
                "no checkpoint in this run yet",
                "OPERATOR    x   IN/s  OUT/s BUSY          BACK-PRESSURE    LAG",
                "Source(t)   2     1k     10 ||||||||  99% |          1%      -",
                "  Sink(u)   2     1k     10                                  -",
                "Source(t): 3 late rows, 0 bad records",
                "latency at Sink(u): p50 900us, p99 1.5ms, p99.9 9.0ms, max 120ms",
                "Sink(u): 3 late rows, 0 bad records",
                "last error: one",
                "two",
            ]
        );
        assert_eq!(detail(&job, Size { columns: 10, rows: 3 }).len(), 3);
    }
}
