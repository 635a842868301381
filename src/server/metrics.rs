//! Figures of the server and of all jobs in Prometheus' text format (version 0.0.4), written from the jobs' status.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemill_connectors::http::posted::InboxFigures;
use tidemill_engine::runtime::{JobStatus, NodeRole, NodeStatus};

use super::app::App;
use super::problem::Problem;
use super::status::{known_time, role_name};
use crate::jobs::{Phase, now_ms};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Counter,
    Gauge,
    Summary,
}

/// All samples of one name stand together, as the format demands.
#[derive(Default)]
struct Page {
    families: BTreeMap<&'static str, Family>,
}

struct Family {
    kind: Type,
    help: &'static str,
    samples: String,
}

/// Labels in their text form, made once for all samples that share them.
#[derive(Default)]
struct Labels(String);

impl Labels {
    fn of(labels: &[(&str, &str)]) -> Self {
        Self::default().and(labels)
    }

    fn and(&self, labels: &[(&str, &str)]) -> Self {
        let mut text = self.0.clone();
        for (key, value) in labels {
            let comma = if text.is_empty() { "" } else { "," };
            let _ = write!(text, "{comma}{key}=\"{}\"", escaped(value));
        }
        Self(text)
    }
}

impl Page {
    fn add(&mut self, name: &'static str, kind: Type, help: &'static str, labels: &Labels, value: f64) {
        self.sample(name, "", kind, help, labels, value);
    }

    /// `suffix`: `_sum` and `_count` of a summary.
    fn sample(
        &mut self,
        name: &'static str,
        suffix: &str,
        kind: Type,
        help: &'static str,
        labels: &Labels,
        value: f64,
    ) {
        let family = self.families.entry(name).or_insert_with(|| Family { kind, help, samples: String::new() });
        let (open, close) = if labels.0.is_empty() { ("", "") } else { ("{", "}") };
        let _ = writeln!(family.samples, "{name}{suffix}{open}{}{close} {value}", labels.0);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, family) in &self.families {
            let kind = match family.kind {
                Type::Counter => "counter",
                Type::Gauge => "gauge",
                Type::Summary => "summary",
            };
            let _ = write!(text, "# HELP {name} {}\n# TYPE {name} {kind}\n{}", family.help, family.samples);
        }
        text
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

pub fn render(app: &Arc<App>) -> Result<String, Problem> {
    let mut page = Page::default();
    server(&mut page, app);
    traces(&mut page, app);
    for job in app.supervisor.store().list()? {
        let phase = app.supervisor.phase(&job);
        for one in Phase::ALL {
            let labels = Labels::of(&[("job", &job.name), ("phase", one.name())]);
            let is = f64::from(u8::from(one == phase));
            page.add("tidemill_job_phase", Type::Gauge, "1 for the phase that the job is in.", &labels, is);
        }
        for (table, figures) in app.supervisor.posted(&job) {
            of_posted_table(&mut page, &job.name, &table, &figures);
        }
        if let Some(status) = app.supervisor.status(&job) {
            of_job(&mut page, &job.name, &status);
            for node in &status.nodes {
                of_node(&mut page, &job.name, node);
                of_time(&mut page, &job.name, node);
            }
        }
    }
    Ok(page.text())
}

fn server(page: &mut Page, app: &App) {
    let help = "Always 1; the label tells the version.";
    page.add("tidemill_build_info", Type::Gauge, help, &Labels::of(&[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    let uptime = app.started.elapsed().as_secs_f64();
    page.add("tidemill_uptime_seconds", Type::Gauge, "Since the server started.", &Labels::default(), uptime);
    let running = app.queries.running() as f64;
    page.add("tidemill_queries_running", Type::Gauge, "Ad-hoc queries that run.", &Labels::default(), running);
    let counts = &app.counts;
    for (result, count) in [("ok", &counts.ok), ("refused", &counts.refused), ("failed", &counts.failed)] {
        let help = "Answers to HTTP requests: done, refused (4xx), failed (5xx).";
        let value = count.load(Ordering::Relaxed) as f64;
        page.add("tidemill_http_requests_total", Type::Counter, help, &Labels::of(&[("result", result)]), value);
    }
}

fn traces(page: &mut Page, app: &App) {
    for (result, count) in app.supervisor.tracer().counts().into_iter().flatten() {
        let help = "Spans of traces: sent, dropped since the queue was full, not taken by the collector.";
        page.add("tidemill_trace_spans_total", Type::Counter, help, &Labels::of(&[("result", result)]), count as f64);
    }
}

fn of_job(page: &mut Page, job: &str, status: &JobStatus) {
    let labels = Labels::of(&[("job", job)]);
    let mut counter = |name, help, value: u64| page.add(name, Type::Counter, help, &labels, value as f64);
    counter("tidemill_job_restarts_total", "Restarts after failures in this run.", status.restarts);
    counter("tidemill_checkpoints_total", "Checkpoints completed in this run.", status.checkpoint.completed);
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            page.add(name, Type::Gauge, help, &labels, value);
        }
    };
    let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
    let checkpoint = &status.checkpoint;
    gauge("tidemill_job_uptime_seconds", "Since the start of this run.", Some(status.uptime.as_secs_f64()));
    gauge("tidemill_job_parallelism", "Instances of each operator.", Some(status.parallelism as f64));
    gauge("tidemill_checkpoint_epoch", "Number of the last completed checkpoint.", Some(status.epoch.0 as f64));
    gauge(
        "tidemill_checkpoint_duration_seconds",
        "Of the last checkpoint, from its barrier to the end of its commit.",
        seconds(checkpoint.last_duration),
    );
    gauge("tidemill_checkpoint_commit_seconds", "Of that, making output visible.", seconds(checkpoint.last_commit));
    gauge("tidemill_checkpoint_age_seconds", "Since the last completed checkpoint.", seconds(checkpoint.last_age));
    gauge(
        "tidemill_checkpoint_running_seconds",
        "Since the barrier of the checkpoint that is under way.",
        seconds(checkpoint.running_for),
    );
    let state_bytes = checkpoint.last_bytes.map(|bytes| bytes as f64);
    gauge("tidemill_state_size_bytes", "State that the last checkpoint names.", state_bytes);
    let held = status.event_time.holder.as_ref().map(|holder| holder.since.as_secs_f64());
    gauge("tidemill_watermark_held_seconds", "How long one split has held event time back.", held);
    gauge("tidemill_idle_splits", "Splits that time goes on without.", Some(status.event_time.idle.len() as f64));
}

/// Where the time of a node's task goes. Nodes that are chained share a task, and so these figures.
fn of_time(page: &mut Page, job: &str, node: &NodeStatus) {
    let labels = Labels::of(&[("job", job), ("operator", &node.name), ("uid", &node.uid), ("stage", &node.stage)]);
    let mut seconds = |name, help, value: Duration| page.add(name, Type::Counter, help, &labels, value.as_secs_f64());
    let help = "Time that the operator's task worked, over all instances; a rate near the instances is a bottleneck.";
    seconds("tidemill_busy_seconds_total", help, node.time.busy);
    let help = "Time that it waited because its readers did not keep up.";
    seconds("tidemill_back_pressured_seconds_total", help, node.time.back_pressured);
    seconds("tidemill_idle_seconds_total", "Time that it waited for rows.", node.time.idle);
}

fn of_posted_table(page: &mut Page, job: &str, table: &str, figures: &InboxFigures) {
    let labels = Labels::of(&[("job", job), ("table", table)]);
    let mut add = |name, kind, help, value: u64| page.add(name, kind, help, &labels, value as f64);
    add("tidemill_posted_rows_total", Type::Counter, "Rows that posts stored since the server started.", figures.rows);
    add("tidemill_posted_bytes_total", Type::Counter, "Text of these rows.", figures.bytes);
    let repeated = "Posts that had been stored before, by their key.";
    add("tidemill_posted_repeated_requests_total", Type::Counter, repeated, figures.repeated_requests);
    let refused = "Posts refused because the job is behind or the log is full.";
    add("tidemill_posted_refused_requests_total", Type::Counter, refused, figures.refused_requests);
    let help = "Posted rows that the job has not read.";
    add("tidemill_posted_backlog_records", Type::Gauge, help, figures.backlog_rows);
    add("tidemill_posted_backlog_bytes", Type::Gauge, "Text of these rows.", figures.backlog_bytes);
    add("tidemill_posted_log_bytes", Type::Gauge, "Text in the log, read or not.", figures.log_bytes);
}

fn of_node(page: &mut Page, job: &str, node: &NodeStatus) {
    let role = role_name(node.role);
    let labels = Labels::of(&[("job", job), ("operator", &node.name), ("uid", &node.uid), ("role", role)]);
    let mut counter = |name, help, value: u64| page.add(name, Type::Counter, help, &labels, value as f64);
    counter("tidemill_records_in_total", "Rows that the operator was given; of a source: read.", node.rows_in);
    counter("tidemill_records_out_total", "Rows that the operator gave on.", node.rows_out);
    counter("tidemill_late_records_total", "Rows that came too late for their window.", node.late);
    counter("tidemill_error_records_total", "Records that could not be read.", node.errors);
    counter("tidemill_filtered_records_total", "Rows that a condition took away.", node.filtered);
    if node.role == NodeRole::Source {
        counter("tidemill_bytes_in_total", "Bytes that a source read.", node.bytes_in);
    }
    if node.lookups.requests > 0 {
        counter("tidemill_lookup_requests_total", "Questions to the outside world.", node.lookups.requests);
        counter("tidemill_lookup_failures_total", "Of them, those without an answer.", node.lookups.failures);
        counter("tidemill_lookup_cache_hits_total", "Rows whose answer was known.", node.lookups.hits);
    }
    let mut gauge = |name, help, value: Option<f64>| {
        if let Some(value) = value {
            page.add(name, Type::Gauge, help, &labels, value);
        }
    };
    gauge("tidemill_operator_instances", "Instances of the operator.", Some(node.instances as f64));
    gauge(
        "tidemill_source_backlog_records",
        "Records that are there and not read yet.",
        node.backlog.map(|n| n as f64),
    );
    let now = now_ms();
    let lag = |time: i64| now.saturating_sub(time).max(0) as f64 / 1_000.0;
    let watermark = node.watermark.and_then(|time| known_time(time.0));
    gauge("tidemill_watermark_lag_seconds", "Wall time minus watermark.", watermark.map(lag));
    let newest = node.event_time_max.and_then(|time| known_time(time.0));
    gauge("tidemill_event_time_lag_seconds", "Wall time minus the latest event time seen.", newest.map(lag));
    let lost = node.unreachable_since.map(|since| lag(since.0));
    gauge("tidemill_source_unreachable_seconds", "Since when a source cannot be reached.", lost);
    if let Some(latency) = node.latency {
        let help = "From reading a row to its arrival at the sink.";
        for (quantile, value) in [("0.5", latency.p50), ("0.99", latency.p99), ("0.999", latency.p999)] {
            let labels = labels.and(&[("quantile", quantile)]);
            page.add("tidemill_latency_seconds", Type::Summary, help, &labels, value.as_secs_f64());
        }
        let rows = latency.rows as f64;
        page.sample("tidemill_latency_seconds", "_count", Type::Summary, help, &labels, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_together_and_labels_are_escaped() {
        let mut page = Page::default();
        for job in ["a", "b\"\\\n"] {
            page.add("tidemill_x_total", Type::Counter, "Help.", &Labels::of(&[("job", job)]), 1.0);
            page.add("tidemill_a", Type::Gauge, "Other.", &Labels::default(), 0.5);
        }
        let expected = "# HELP tidemill_a Other.\n# TYPE tidemill_a gauge\ntidemill_a 0.5\ntidemill_a 0.5\n\
                        # HELP tidemill_x_total Help.\n# TYPE tidemill_x_total counter\n\
                        tidemill_x_total{job=\"a\"} 1\ntidemill_x_total{job=\"b\\\"\\\\\\n\"} 1\n";
        assert_eq!(page.text(), expected);
    }
}
