//! The figures of one node over its instances, over all attempts of the job.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::layout::instances;
use super::status::{NodeRole, NodeStatus};
use crate::graph::{Node, NodeKind};
use crate::latency::Latencies;
use crate::metrics::{Counts, Gauge, NodeMetrics};
use crate::sink::Sink;
use crate::source::{Source, SourceHealth};
use crate::time::{EventTime, ProcessingTime};

pub struct NodeProbe {
    pub name: String,
    pub uid: String,
    role: NodeRole,
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
}

impl NodeProbe {
    pub fn of(node: &Node, parallelism: usize) -> Self {
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
        let figures = Mutex::new(Figures { restored: Counts::default(), instances });
        Self { name: node.name.clone(), uid: node.uid.clone(), role, edge, figures }
    }

    /// A new attempt: what was counted behind the checkpoint did not happen.
    pub fn restart(&self, restored: Counts) {
        let mut figures = self.figures.lock();
        figures.restored = restored;
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
        let figures = self.figures.lock();
        let mut counts = figures.restored;
        figures.instances.iter().for_each(|instance| counts += instance.counts());
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
        }
    }
}
