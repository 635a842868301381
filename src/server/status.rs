//! A job's status as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use tidemill_connectors::http::posted::InboxFigures;
use tidemill_engine::latency::LatencySummary;
use tidemill_engine::runtime::{EventTimeStatus, JobState, JobStatus, NodeRole, NodeStatus};

use crate::jobs::now_ms;

pub fn state_name(state: JobState) -> &'static str {
    match state {
        JobState::Starting => "starting",
        JobState::Running => "running",
        JobState::Restarting => "restarting",
        JobState::Finished => "finished",
        JobState::Failed => "failed",
    }
}

pub fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Source => "source",
        NodeRole::Operator => "operator",
        NodeRole::Sink => "sink",
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub fn status_json(status: &JobStatus) -> Value {
    let checkpoint = &status.checkpoint;
    json!({
        "state": state_name(status.state),
        "job_id": status.job_id,
        "parallelism": status.parallelism,
        "uptime_ms": ms(status.uptime),
        "epoch": status.epoch.0,
        "checkpoint": {
            "completed": checkpoint.completed,
            "last_age_ms": checkpoint.last_age.map(ms),
            "last_duration_ms": checkpoint.last_duration.map(ms),
            "last_commit_ms": checkpoint.last_commit.map(ms),
            "last_bytes": checkpoint.last_bytes,
            "running_for_ms": checkpoint.running_for.map(ms),
        },
        "attempts": status.attempts,
        "restarts": status.restarts,
        "last_error": status.last_error,
        "notes": status.notes,
        "event_time": event_time_json(&status.event_time),
        "rates": rates_json(status),
        "nodes": status.nodes.iter().map(node_json).collect::<Vec<_>>(),
    })
}

/// Over the whole run: rows that all sources gave and all sinks took.
fn rates_json(status: &JobStatus) -> Value {
    let seconds = status.uptime.as_secs_f64();
    let rate = |role: NodeRole, rows: fn(&NodeStatus) -> u64| {
        let total: u64 = status.nodes.iter().filter(|node| node.role == role).map(rows).sum();
        if seconds > 0.0 { (total as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 }
    };
    json!({
        "rows_in_per_second": rate(NodeRole::Source, |node| node.rows_out),
        "rows_out_per_second": rate(NodeRole::Sink, |node| node.rows_in),
    })
}

/// How long ago a time was; one that lies ahead is not behind.
fn lag_ms(time_ms: i64) -> i64 {
    now_ms().saturating_sub(time_ms).max(0)
}

/// A job in a line: how it does lately.
pub fn figures_json(status: &JobStatus) -> Value {
    let of_role = move |role| status.nodes.iter().filter(move |node| node.role == role);
    let rows_in: f64 = of_role(NodeRole::Source).map(|node| node.rates.rows_out_per_second).sum();
    let rows_out: f64 = of_role(NodeRole::Sink).map(|node| node.rates.rows_in_per_second).sum();
    let backlog = of_role(NodeRole::Source).filter_map(|node| node.backlog).reduce(|a, b| a + b);
    let watermarks = status.nodes.iter().filter_map(|node| known_time(node.watermark?.0));
    let busiest = status.nodes.iter().max_by(|a, b| a.rates.busy.total_cmp(&b.rates.busy));
    json!({
        "rows_in_per_second": per_second(rows_in),
        "rows_out_per_second": per_second(rows_out),
        "backlog": backlog,
        "watermark_lag_ms": watermarks.min().map(lag_ms),
        "checkpoint_age_ms": status.checkpoint.last_age.map(ms),
        "state_bytes": status.checkpoint.last_bytes,
        "busiest_stage": busiest.map(|node| &node.stage),
        "busy_ms_per_second": busiest.map(|node| in_thousand(node.rates.busy)),
    })
}

fn event_time_json(time: &EventTimeStatus) -> Value {
    let holder = time.holder.as_ref().map(|holder| {
        json!({
            "source": holder.source,
            "split": holder.split,
            "watermark_ms": known_time(holder.watermark.0),
            "for_ms": ms(holder.since),
        })
    });
    let idle = time.idle.iter().map(|idle| json!({ "source": idle.source, "split": idle.split }));
    json!({ "held_by": holder, "idle": idle.collect::<Vec<_>>() })
}

/// The ends of time stand for "not yet" and "no more".
pub fn known_time(ms: i64) -> Option<i64> {
    (ms != i64::MIN && ms != i64::MAX).then_some(ms)
}

fn node_json(node: &NodeStatus) -> Value {
    let lookups = node.lookups;
    json!({
        "name": node.name,
        "uid": node.uid,
        "role": role_name(node.role),
        "rows_in": node.rows_in,
        "rows_out": node.rows_out,
        "bytes_in": node.bytes_in,
        "late": node.late,
        "errors": node.errors,
        "filtered": node.filtered,
        "spilled": node.spilled,
        "watermark_ms": node.watermark.and_then(|time| known_time(time.0)),
        "watermark_lag_ms": node.watermark.and_then(|time| known_time(time.0)).map(lag_ms),
        "event_time_max_ms": node.event_time_max.and_then(|time| known_time(time.0)),
        "backlog": node.backlog,
        "unreachable_since_ms": node.unreachable_since.map(|since| since.0),
        "latency": node.latency.map(latency_json),
        "rows_in_per_second": per_second(node.rates.rows_in_per_second),
        "rows_out_per_second": per_second(node.rates.rows_out_per_second),
        "stage": node.stage,
        "instances": node.instances,
        "busy_ms_per_second": in_thousand(node.rates.busy),
        "back_pressured_ms_per_second": in_thousand(node.rates.back_pressured),
        "idle_ms_per_second": in_thousand(node.rates.idle),
        "lookups": {
            "requests": lookups.requests,
            "hits": lookups.hits,
            "misses": lookups.misses,
            "retries": lookups.retries,
            "failures": lookups.failures,
            "in_flight": node.lookups_in_flight,
            "cache_bytes": node.cache_bytes,
        },
    })
}

pub fn posted_json(table: &str, figures: &InboxFigures) -> Value {
    json!({
        "table": table,
        "rows": figures.rows,
        "bytes": figures.bytes,
        "repeated_requests": figures.repeated_requests,
        "refused_requests": figures.refused_requests,
        "backlog_rows": figures.backlog_rows,
        "backlog_bytes": figures.backlog_bytes,
        "log_bytes": figures.log_bytes,
    })
}

fn per_second(rate: f64) -> f64 {
    (rate * 10.0).round() / 10.0
}

fn in_thousand(share: f64) -> u64 {
    (share * 1_000.0).round() as u64
}

fn latency_json(latency: LatencySummary) -> Value {
    let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    json!({
        "rows": latency.rows,
        "p50_us": us(latency.p50),
        "p99_us": us(latency.p99),
        "p999_us": us(latency.p999),
        "max_us": us(latency.max),
    })
}
