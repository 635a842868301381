//! What a server said of its jobs, as far as it is shown.

use serde_json::Value;

/// A line of the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobRow {
    pub name: String,
    pub phase: String,
    pub rows_in: Option<f64>,
    pub rows_out: Option<f64>,
    pub backlog: Option<u64>,
    pub time_lag_ms: Option<u64>,
    pub checkpoint_age_ms: Option<u64>,
    pub state_bytes: Option<u64>,
    pub restarts: u64,
    /// Of 1,000, of the task that is busiest.
    pub busy: Option<u64>,
    pub error: String,
}

/// All of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobDetail {
    pub name: String,
    pub phase: String,
    pub uptime_ms: Option<u64>,
    pub epoch: u64,
    pub restarts: u64,
    pub parallelism: Option<u64>,
    pub checkpoint_age_ms: Option<u64>,
    pub checkpoint_ms: Option<u64>,
    pub state_bytes: Option<u64>,
    pub operators: Vec<OperatorRow>,
    /// Sentences: what holds time back, who is idle, what is posted.
    pub remarks: Vec<String>,
    pub error: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperatorRow {
    pub name: String,
    pub instances: u64,
    pub rows_in: f64,
    pub rows_out: f64,
    /// Of 1,000.
    pub busy: u64,
    pub back_pressured: u64,
    pub time_lag_ms: Option<u64>,
    pub late: u64,
    pub errors: u64,
    /// p50, p99, p99.9 and the largest, in microseconds.
    pub latency: Option<[u64; 4]>,
    /// It is chained behind the one above.
    pub is_chained: bool,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

impl JobRow {
    pub fn of(job: &Value) -> Self {
        let figures = &job["figures"];
        Self {
            name: text(&job["name"]),
            phase: text(&job["phase"]),
            rows_in: figures["rows_in_per_second"].as_f64(),
            rows_out: figures["rows_out_per_second"].as_f64(),
            backlog: figures["backlog"].as_u64(),
            time_lag_ms: figures["watermark_lag_ms"].as_u64(),
            checkpoint_age_ms: figures["checkpoint_age_ms"].as_u64(),
            state_bytes: figures["state_bytes"].as_u64(),
            restarts: job["restarts"].as_u64().unwrap_or(0),
            busy: figures["busy_ms_per_second"].as_u64(),
            error: text(&job["last_error"]),
        }
    }
}

impl JobDetail {
    /// `view`: the job; `metrics`: its figures.
    pub fn of(view: &Value, metrics: &Value) -> Self {
        let status = &metrics["status"];
        let checkpoint = &status["checkpoint"];
        let nodes = status["nodes"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        Self {
            name: text(&view["name"]),
            phase: text(&view["phase"]),
            uptime_ms: view["uptime_ms"].as_u64(),
            epoch: view["epoch"].as_u64().unwrap_or(0),
            restarts: view["restarts"].as_u64().unwrap_or(0),
            parallelism: status["parallelism"].as_u64(),
            checkpoint_age_ms: checkpoint["last_age_ms"].as_u64(),
            checkpoint_ms: checkpoint["last_duration_ms"].as_u64(),
            state_bytes: checkpoint["last_bytes"].as_u64(),
            operators: nodes.iter().map(OperatorRow::of).collect(),
            remarks: remarks(status, &metrics["posted"]),
            error: text(&view["last_error"]),
        }
    }
}

impl OperatorRow {
    fn of(node: &Value) -> Self {
        let number = |key: &str| node[key].as_u64().unwrap_or(0);
        let rate = |key: &str| node[key].as_f64().unwrap_or(0.0);
        let latency = &node["latency"];
        let us = |key: &str| latency[key].as_u64().unwrap_or(0);
        Self {
            name: text(&node["name"]),
            instances: number("instances"),
            rows_in: rate("rows_in_per_second"),
            rows_out: rate("rows_out_per_second"),
            busy: number("busy_ms_per_second"),
            back_pressured: number("back_pressured_ms_per_second"),
            time_lag_ms: node["watermark_lag_ms"].as_u64(),
            late: number("late"),
            errors: number("errors"),
            latency: latency.is_object().then(|| [us("p50_us"), us("p99_us"), us("p999_us"), us("max_us")]),
            is_chained: node["stage"] != node["name"],
        }
    }
}

fn remarks(status: &Value, posted: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let held = &status["event_time"]["held_by"];
    if held.is_object() {
        let seconds = super::text::duration(held["for_ms"].as_u64().unwrap_or(0));
        all.push(format!("time is held back by {} of {} for {seconds}", text(&held["split"]), text(&held["source"])));
    }
    let idle = status["event_time"]["idle"].as_array().map_or(0, Vec::len);
    if idle > 0 {
        all.push(format!("{idle} idle splits, which time goes on without"));
    }
    for table in posted.as_array().into_iter().flatten() {
        let number = |key: &str| table[key].as_u64().unwrap_or(0);
        let (rows, bytes) = (number("backlog_rows"), super::text::size(number("backlog_bytes")));
        all.push(format!(
            "{} posted rows of {} wait ({bytes})",
            super::text::count(rows as f64),
            text(&table["table"])
        ));
    }
    all
}
