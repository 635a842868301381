//! Builds the tasks of one attempt from the graph and the restored checkpoint, and gives each its thread.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::chain::{Body, Chain, Destination, Output, Slot};
use super::edge::Outlet;
use super::events::{EVENTS_PER_TASK_MAX, Event, Reporter, TaskId};
use super::gate::Gate;
use super::layout::{Layout, TaskLayout, instances};
use super::monitor::Monitor;
use super::options::JobOptions;
use super::source::pool::SplitPool;
use super::source::reading::{Reading, ReadingSetup};
use super::source::rows::RowMaker;
use super::source::task::SourceTask;
use super::stage::{LookupThreads, StageTask};
use super::task::{OperatorTask, TaskWorld};
use super::wiring::Wiring;
use crate::checkpoint::{Checkpoint, CheckpointStore, SourceState};
use crate::graph::{JobGraph, Node, NodeId, NodeKind};
use crate::keys::KeyGroupRange;
use crate::operator::{OperatorContext, Subtask};
use crate::sink::{Sink, SinkWriter, WriterContext, owner_id};
use crate::source::SourceSpec;
use crate::state::memory::MemoryState;
use crate::state::{InstanceId, KeyShape, KeyedState, StateBackend, StateInstance};
use crate::time::EventTime;
use crate::{Barrier, EngineError, Result};

/// Deeply nested expressions are evaluated by recursion, within a chain of operators that call each other. Memory is
/// only taken for what is used.
pub const STACK_BYTES: usize = 16 << 20;

/// What every task of an attempt is made from.
pub struct Plan {
    pub graph: Arc<JobGraph>,
    pub layout: Arc<Layout>,
    pub options: Arc<JobOptions>,
    pub monitor: Arc<Monitor>,
    pub store: Arc<CheckpointStore>,
    pub backend: StateBackend,
    pub job_id: String,
    pub attempt: u64,
    pub work_dir: PathBuf,
    pub max_parallelism: u16,
    /// `None`: from nothing.
    pub checkpoint: Option<Checkpoint>,
}

/// The threads of an attempt. Dropping it tears them down.
pub struct RunningTasks {
    pub events: Receiver<Event>,
    /// To every source task.
    pub barriers: Vec<(TaskId, Sender<Barrier>)>,
    /// By position of a source node: to be set once nobody needs its rows.
    unneeded: BTreeMap<usize, Arc<AtomicBool>>,
    /// No source reads before the first checkpoint is complete (see [`crate::source::Source::start_moves`]).
    pub held: Arc<AtomicBool>,
    pub task_count: usize,
    /// By task: its head and subtask, for people.
    pub names: Vec<String>,
    cancelled: Arc<AtomicBool>,
    begun_epoch: Arc<AtomicU64>,
    /// Of all sources: what lets their tasks look up.
    pools: Vec<Arc<SplitPool>>,
    threads: Vec<JoinHandle<()>>,
}

/// One task, wired but not opened yet: that happens in its own thread.
struct Seat {
    plan: Arc<Plan>,
    task: usize,
    subtask: usize,
    /// Per node of the task: port and outlet.
    outlets: Vec<Vec<(usize, Outlet)>>,
    world: TaskWorld,
    end: ReadingEnd,
}

/// Where a task's rows come from.
enum ReadingEnd {
    Gate(Gate),
    Source { pool: Arc<SplitPool>, barriers: Receiver<Barrier>, unneeded: Arc<AtomicBool>, held: Arc<AtomicBool> },
}

impl RunningTasks {
    /// Starts all tasks. On an error nothing keeps running.
    pub fn launch(plan: Arc<Plan>) -> Result<Self> {
        let operators: usize = plan.graph.nodes().iter().map(|node| instances(node, plan.options.parallelism)).sum();
        let (sender, events) = bounded(EVENTS_PER_TASK_MAX * plan.layout.thread_count() + operators);
        let cancelled = Arc::new(AtomicBool::new(false));
        let mut running = Self {
            events,
            barriers: Vec::new(),
            unneeded: BTreeMap::new(),
            held: Arc::new(AtomicBool::new(plan.start_moves())),
            task_count: 0,
            names: Vec::new(),
            cancelled: Arc::clone(&cancelled),
            begun_epoch: Arc::default(),
            pools: Vec::new(),
            threads: Vec::new(),
        };
        let mut wiring = Wiring::of(&plan.graph, &plan.layout, &plan.options, plan.max_parallelism);
        for (index, task) in plan.layout.tasks.iter().enumerate() {
            let pool = plan.open_pool(task)?;
            running.pools.extend(pool.clone());
            for subtask in 0..task.parallelism {
                let id = TaskId(running.task_count);
                running.task_count += 1;
                let world = TaskWorld {
                    reporter: Reporter::new(id, sender.clone()),
                    clock: Arc::clone(&plan.options.clock),
                    store: Arc::clone(&plan.store),
                    cancelled: Arc::clone(&cancelled),
                    begun_epoch: Arc::clone(&running.begun_epoch),
                    times: Arc::default(),
                };
                let end = match &pool {
                    Some(pool) => running.source_end(id, task.nodes[0], pool),
                    None => ReadingEnd::Gate(wiring.take_gate(task.nodes[0], subtask).expect("a reader has channels")),
                };
                let outlets = task.nodes.iter().map(|node| wiring.take_outlets(*node, subtask)).collect();
                let seat = Seat { plan: Arc::clone(&plan), task: index, subtask, outlets, world, end };
                running.names.push(seat.place());
                running.threads.push(seat.start()?);
            }
        }
        Ok(running)
    }

    fn source_end(&mut self, id: TaskId, node: NodeId, pool: &Arc<SplitPool>) -> ReadingEnd {
        // One checkpoint at a time: a barrier is taken before the next one is sent.
        let (sender, barriers) = bounded(1);
        self.barriers.push((id, sender));
        let unneeded = Arc::clone(self.unneeded.entry(node.0).or_default());
        ReadingEnd::Source { pool: Arc::clone(pool), barriers, unneeded, held: Arc::clone(&self.held) }
    }

    /// Sends a barrier to all sources, and tells tasks that they should come to it.
    pub fn begin(&self, barrier: Barrier) {
        self.begun_epoch.store(barrier.epoch.0, Ordering::Relaxed);
        for (_, source) in &self.barriers {
            // There is room, since the last barrier was taken; a source that is gone has reported why.
            let _ = source.try_send(barrier);
        }
    }

    /// Reading may begin.
    pub fn release(&self) {
        if self.held.swap(false, Ordering::Relaxed) {
            self.pools.iter().for_each(|pool| pool.wake_all());
        }
    }

    /// Nobody needs further rows of the source node at this position.
    pub fn end_source(&self, node: usize) {
        if let Some(unneeded) = self.unneeded.get(&node) {
            unneeded.store(true, Ordering::Relaxed);
            self.pools.iter().for_each(|pool| pool.wake_all());
        }
    }

    /// Ends all threads and waits for them. Gives the failures that they reported meanwhile.
    pub fn tear_down(&mut self) -> Vec<EngineError> {
        self.cancelled.store(true, Ordering::Relaxed);
        self.barriers.clear();
        for thread in self.threads.drain(..) {
            // A panic was caught inside and reported as an event.
            let _ = thread.join();
        }
        let failures = self.events.try_iter().filter_map(|event| match event {
            Event::Failed { error } => Some(error),
            _ => None,
        });
        failures.collect()
    }
}

impl Drop for RunningTasks {
    fn drop(&mut self) {
        self.tear_down();
    }
}

impl Plan {
    fn open_pool(&self, task: &TaskLayout) -> Result<Option<Arc<SplitPool>>> {
        let head = self.graph.node(task.nodes[0]);
        let NodeKind::Source(spec) = &head.kind else { return Ok(None) };
        let pool = SplitPool::open(&spec.source, self.source_state(&head.uid), task.parallelism)?;
        Ok(Some(Arc::new(pool)))
    }

    /// A source begins now, at a place that another discovery would not find again.
    fn start_moves(&self) -> bool {
        self.graph.nodes().iter().any(|node| match &node.kind {
            NodeKind::Source(spec) => spec.source.start_moves() && self.source_state(&node.uid).is_none(),
            _ => false,
        })
    }

    /// Where a source stood in the restored checkpoint.
    pub fn source_state(&self, uid: &str) -> Option<&SourceState> {
        let manifest = &self.checkpoint.as_ref()?.manifest;
        manifest.sources.iter().find(|source| source.uid == uid)
    }

    /// States that the writers of a sink left and that now fall to this subtask.
    fn writer_states(&self, uid: &str, subtask: Subtask) -> Vec<serde_json::Value> {
        let Some(checkpoint) = &self.checkpoint else { return Vec::new() };
        let left = checkpoint.manifest.sinks.iter().filter(|sink| sink.uid == uid);
        let mine = left.filter(|sink| sink.subtask % subtask.parallelism == subtask.index);
        mine.filter_map(|sink| sink.prepared.state.clone()).collect()
    }

    fn open_state(&self, node: &Node, id: InstanceId, shape: KeyShape) -> Result<StateInstance> {
        let restored = self.checkpoint.as_ref().map(|one| one.restored(&node.uid, id.key_groups)).unwrap_or_default();
        self.backend.instance(id, shape, &self.work_dir, restored)
    }

    fn open_writer(&self, node: &Node, sink: &Arc<dyn Sink>, subtask: Subtask) -> Result<Box<dyn SinkWriter>> {
        let context = WriterContext {
            job_id: owner_id(&self.job_id, &node.uid),
            attempt: self.attempt,
            subtask,
            now: self.options.clock.now(),
        };
        sink.writer(&context, self.writer_states(&node.uid, subtask))
    }

    /// Instances that may fill a write-back cache.
    fn stateful_instances(&self) -> usize {
        let stateful = self.graph.nodes().iter().filter(|node| node.state_signature.is_some());
        stateful.map(|node| instances(node, self.options.parallelism)).sum()
    }

    fn slot(&self, node: NodeId, subtask: usize, outputs: Vec<Output>) -> Result<Slot> {
        let node = self.graph.node(node);
        let subtask = Subtask { index: subtask, parallelism: instances(node, self.options.parallelism) };
        let key_groups = KeyGroupRange::of_subtask(subtask.index, subtask.parallelism, self.max_parallelism);
        let mut state: Option<StateInstance> = None;
        let body = match &node.kind {
            NodeKind::Source(_) => Body::Source,
            NodeKind::Sink(sink) => Body::Sink(self.open_writer(node, sink, subtask)?),
            NodeKind::Operator(factory) => {
                let id = InstanceId { uid: node.uid.clone(), subtask, key_groups };
                state = Some(self.open_state(node, id, factory.key_shape())?);
                Body::Operator(factory.create()?)
            }
        };
        let view: Box<dyn KeyedState> = match &state {
            Some(state) => state.view(),
            None => Box::new(MemoryState::default()),
        };
        let metrics = self.monitor.nodes[node.id.0].metrics(subtask.index);
        let ctx = OperatorContext {
            subtask,
            key_groups,
            state: view,
            now: self.options.clock.now(),
            watermark: EventTime::MIN,
            input_watermarks: Vec::new(),
            batch_rows: self.options.batch_rows.max(1),
            cache_budget_bytes: self.backend.cache_budget_bytes(self.stateful_instances()),
            metrics: Arc::clone(&metrics),
        };
        let (uid, name, memory_budget_bytes) = (node.uid.clone(), node.name.clone(), self.options.memory_budget_bytes);
        Ok(Slot { node: node.id.0, uid, name, body, ctx, metrics, state, outputs, memory_budget_bytes, done: false })
    }
}

impl Seat {
    fn layout(&self) -> &TaskLayout {
        &self.plan.layout.tasks[self.task]
    }

    fn head(&self) -> &Node {
        self.plan.graph.node(self.layout().nodes[0])
    }

    fn place(&self) -> String {
        format!("{}[{}]", self.head().name, self.subtask)
    }

    fn start(self) -> Result<JoinHandle<()>> {
        let place = self.place();
        let (reporter, times) = (self.world.reporter.clone(), Arc::clone(&self.world.times));
        let run = move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run()));
            times.end();
            let outcome = outcome.unwrap_or_else(|panic| {
                Err(EngineError::Internal { place: place.clone(), reason: panic_text(panic.as_ref()) })
            });
            if let Err(error) = outcome {
                tracing::debug!(task = place, %error, "task ended");
                reporter.failed(error);
            }
        };
        let builder = thread::Builder::new().name("tidemill-task".into()).stack_size(STACK_BYTES);
        builder.spawn(run).map_err(|error| EngineError::io("start", "a thread", error))
    }

    fn run(mut self) -> Result<()> {
        let chain = self.open_chain()?;
        let plan = Arc::clone(&self.plan);
        let head = plan.graph.node(plan.layout.tasks[self.task].nodes[0]);
        match (self.end, &head.kind) {
            (ReadingEnd::Gate(gate), NodeKind::Operator(factory)) if let Some((lookup, threads)) = factory.asks() => {
                let threads = LookupThreads::new(lookup, threads);
                let gate = gate.counting(Arc::clone(&self.world.times));
                StageTask { chain, gate, threads, world: self.world }.run()
            }
            (ReadingEnd::Gate(gate), _) => {
                let gate = gate.counting(Arc::clone(&self.world.times));
                OperatorTask { chain, gate, world: self.world }.run()
            }
            (ReadingEnd::Source { pool, barriers, unneeded, held }, NodeKind::Source(spec)) => {
                let wakes = pool.wakes(self.subtask);
                let task = SourceTask {
                    uid: head.uid.clone(),
                    node: head.id.0,
                    subtask: self.subtask,
                    reading: reading(&plan, head, spec, pool, self.subtask)?,
                    chain,
                    barriers,
                    unneeded,
                    held,
                    wakes,
                    world: self.world,
                    monitor: Arc::clone(&plan.monitor),
                    checkpoint_every_batches: plan.options.checkpoint_every_batches,
                };
                task.run()
            }
            (ReadingEnd::Source { .. }, _) => unreachable!("only source nodes have splits"),
        }
    }

    fn open_chain(&mut self) -> Result<Chain> {
        let nodes = self.layout().nodes.clone();
        let mut slots = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let channels = std::mem::take(&mut self.outlets[index]);
            let times = &self.world.times;
            let counting = |outlet: Outlet| outlet.counting(Arc::clone(times));
            let to_channel = |(port, outlet)| Output { port, to: Destination::Channel(counting(outlet)) };
            let mut outputs: Vec<Output> = channels.into_iter().map(to_channel).collect();
            outputs.extend(chained_outputs(&self.plan.graph, &nodes, *node));
            let slot = self.plan.slot(*node, self.subtask, outputs)?;
            let _ = slot.metrics.task.set(Arc::clone(&self.world.times));
            slots.push(slot);
        }
        Ok(Chain::new(slots, Arc::clone(&self.world.cancelled)))
    }
}

/// Readers of `node` that run in the same task.
fn chained_outputs(graph: &JobGraph, nodes: &[NodeId], node: NodeId) -> Vec<Output> {
    let behind = nodes.iter().enumerate().skip(1);
    let readers = behind.filter_map(|(slot, reader)| {
        // The head apart, a node of a task has one input, and that is within the task.
        let input = graph.node(*reader).inputs.first()?;
        (input.from == node).then_some(Output { port: input.port, to: Destination::Slot(slot) })
    });
    readers.collect()
}

fn reading(plan: &Plan, node: &Node, spec: &SourceSpec, pool: Arc<SplitPool>, subtask: usize) -> Result<Reading> {
    let metrics = plan.monitor.nodes[node.id.0].metrics(subtask);
    let setup = ReadingSetup {
        subtask: Subtask { index: subtask, parallelism: instances(node, plan.options.parallelism) },
        maker: RowMaker::new(&node.name, spec, &node.schema, Arc::clone(&metrics))?,
        metrics,
        timed: spec.watermark.is_some(),
        idle_timeout: spec.watermark.as_ref().and_then(|watermark| watermark.idle_timeout),
        idle_time_runs: spec.watermark.as_ref().is_some_and(|watermark| watermark.idle_time_runs),
        batch_rows: plan.options.batch_rows,
        now: plan.options.clock.now(),
        restored: plan.source_state(&node.uid).map_or(EventTime::MIN, |source| source.watermark),
    };
    Ok(Reading::new(Arc::clone(&spec.source), pool, setup))
}

pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}
