//! The figures of one node over its instances, over all attempts of the job.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::layout::instances;
use super::status::{NodeRates, NodeRole, NodeStatus};
use crate::graph::{Node, NodeKind};
use crate::latency::Latencies;
use crate::metrics::{Counts, Gauge, NodeMetrics};
use crate::sink::Sink;
use crate::source::{Source, SourceHealth};
use crate::task_time::TaskTime;
use crate::time::{EventTime, ProcessingTime};

pub struct NodeProbe {
    pub name: String,
    pub uid: String,
    role: NodeRole,
    /// Name of the head of its task.
    stage: String,
    edge: Edge,
    figures: Mutex<Figures>,
}

/// Where a node meets the outside world. Gone with the job, though its figures stay.
enum Edge {
    Source(Weak<dyn Source>),
    Sink(Weak<dyn Sink>),
    None,
}

impl Edge {
    /// Backlog, and since when the other side cannot be reached.
    fn health(&self) -> (Option<u64>, Option<ProcessingTime>) {
        match self {
            Self::Source(source) => {
                let health = source.upgrade().map(|source| source.health()).unwrap_or_default();
                let SourceHealth { backlog, unreachable_since } = health;
                (backlog, unreachable_since)
            }
            Self::Sink(sink) => (None, sink.upgrade().and_then(|sink| sink.health().unreachable_since)),
            Self::None => (None, None),
        }
    }
}

struct Figures {
    /// As of the checkpoint that the attempt goes on from.
    restored: Counts,
    /// Of this attempt, by subtask.
    instances: Vec<Arc<NodeMetrics>>,
    /// What rates begin with, and will begin with next.
    samples: [Sample; 2],
}

/// Over so much time rates are told at least, once the attempt is so old.
const RATES_WINDOW: Duration = Duration::from_secs(5);

#[derive(Clone, Copy)]
struct Sample {
    at: Instant,
    rows_in: u64,
    rows_out: u64,
    time: TaskTime,
}

impl Sample {
    fn first(restored: Counts) -> Self {
        let Counts { rows_in, rows_out, .. } = restored;
        Self { at: Instant::now(), rows_in, rows_out, time: TaskTime::default() }
    }

    fn rates_since(&self, before: &Self) -> NodeRates {
        let seconds = (self.at - before.at).as_secs_f64().max(1e-3);
        let time = self.time.since(&before.time);
        let share = |part: Duration| match time.total().as_secs_f64() {
            0.0 => 0.0,
            total => part.as_secs_f64() / total,
        };
        NodeRates {
            rows_in_per_second: self.rows_in.saturating_sub(before.rows_in) as f64 / seconds,
            rows_out_per_second: self.rows_out.saturating_sub(before.rows_out) as f64 / seconds,
            busy: share(time.busy),
            idle: share(time.idle),
            back_pressured: share(time.back_pressured),
        }
    }
}

impl Figures {
    fn rates(&mut self, counts: &Counts, time: TaskTime) -> NodeRates {
        let now = Sample { at: Instant::now(), rows_in: counts.rows_in, rows_out: counts.rows_out, time };
        if now.at - self.samples[1].at >= RATES_WINDOW {
            self.samples = [self.samples[1], now];
        }
        now.rates_since(&self.samples[0])
    }
}

impl NodeProbe {
    /// `stage`: name of the head of its task.
    pub fn of(node: &Node, stage: &str, parallelism: usize) -> Self {
        let role = match node.kind {
            NodeKind::Source(_) => NodeRole::Source,
            NodeKind::Operator(_) => NodeRole::Operator,
            NodeKind::Sink(_) => NodeRole::Sink,
        };
        let edge = match &node.kind {
            NodeKind::Source(spec) => Edge::Source(Arc::downgrade(&spec.source)),
            NodeKind::Sink(sink) => Edge::Sink(Arc::downgrade(sink)),
            NodeKind::Operator(_) => Edge::None,
        };
        let instances = (0..instances(node, parallelism)).map(|_| Arc::default()).collect();
        let (restored, samples) = (Counts::default(), [Sample::first(Counts::default()); 2]);
        let figures = Mutex::new(Figures { restored, instances, samples });
        Self { name: node.name.clone(), uid: node.uid.clone(), role, stage: stage.to_string(), edge, figures }
    }

    /// A new attempt: what was counted behind the checkpoint did not happen.
    pub fn restart(&self, restored: Counts) {
        let mut figures = self.figures.lock();
        figures.restored = restored;
        figures.samples = [Sample::first(restored); 2];
        figures.instances.iter_mut().for_each(|instance| *instance = Arc::default());
    }

    /// Where an instance counts in this attempt.
    pub fn metrics(&self, subtask: usize) -> Arc<NodeMetrics> {
        Arc::clone(&self.figures.lock().instances[subtask])
    }

    /// What the restored checkpoint had counted.
    pub fn restored(&self) -> Counts {
        self.figures.lock().restored
    }

    pub fn status(&self) -> NodeStatus {
        let (backlog, unreachable_since) = self.edge.health();
        let mut figures = self.figures.lock();
        let mut counts = figures.restored;
        figures.instances.iter().for_each(|instance| counts += instance.counts());
        let mut time = TaskTime::default();
        let times = figures.instances.iter().filter_map(|instance| instance.task.get());
        times.for_each(|one| time += one.get());
        let rates = figures.rates(&counts, time);
        let gauges = |gauge: fn(&NodeMetrics) -> &Gauge| figures.instances.iter().map(move |one| gauge(one).get());
        NodeStatus {
            name: self.name.clone(),
            uid: self.uid.clone(),
            role: self.role,
            rows_in: counts.rows_in,
            rows_out: counts.rows_out,
            bytes_in: counts.bytes_in,
            late: counts.late,
            errors: counts.errors,
            filtered: counts.filtered,
            spilled: counts.spilled,
            lookups: counts.lookups,
            lookups_in_flight: gauges(|one| &one.lookups.in_flight).flatten().reduce(|a, b| a + b),
            cache_bytes: gauges(|one| &one.cache_bytes).flatten().reduce(|a, b| a + b),
            // None before any None: the node is as far as the instance that is least far.
            watermark: gauges(|one| &one.watermark_ms).min().flatten().map(EventTime),
            event_time_max: gauges(|one| &one.event_time_max_ms).max().flatten().map(EventTime),
            backlog,
            unreachable_since,
            latency: Latencies::summary(figures.instances.iter().map(|one| &one.latencies)),
            stage: self.stage.clone(),
            instances: figures.instances.len(),
            time,
            rates,
        }
    }
}
