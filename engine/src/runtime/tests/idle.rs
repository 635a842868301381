//! A job to which nothing comes: its tasks sleep, and whatever they wait for wakes them at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::kit::*;
use super::time::until;
use crate::graph::{Exchange, NodeKind, Parallelism};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::operators::limit::Limit;
use crate::runtime::testing::CollectSink;
use crate::runtime::{JobHandle, JobOptions, Outcome, start};
use crate::source::{Boundedness, Position, Read, Source, Split, SplitReader, Waker, WatermarkSpec};
use crate::time::{Clock, EventTime, ProcessingTime, SystemClock};
use crate::{Batch, Result};

/// What is noticed within this time was not found by looking now and then: readers here are asked again after a minute.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Gives what was posted, and is woken for it.
#[derive(Debug, Default)]
struct QuietSource {
    posted: Arc<Mutex<Posted>>,
}

#[derive(Debug, Default)]
struct Posted {
    rows: VecDeque<Row>,
    read: u64,
    waker: Option<Waker>,
}

impl QuietSource {
    fn post(&self, row: Row) {
        let mut posted = self.posted.lock();
        posted.rows.push_back(row);
        posted.waker.iter().for_each(Waker::wake);
    }
}

impl Source for QuietSource {
    fn schema(&self) -> SchemaRef {
        row_schema()
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn discover(&self) -> Result<Vec<Split>> {
        Ok(vec![Split { id: "all".into(), payload: Position::Null }])
    }

    /// So that reading waits for the first checkpoint.
    fn start_moves(&self) -> bool {
        true
    }

    fn open(&self, _split: &Split, _position: Option<&Position>) -> Result<Box<dyn SplitReader>> {
        Ok(Box::new(QuietReader { posted: Arc::clone(&self.posted) }))
    }
}

struct QuietReader {
    posted: Arc<Mutex<Posted>>,
}

impl SplitReader for QuietReader {
    fn next(&mut self, _rows_max: usize) -> Result<Read> {
        let mut posted = self.posted.lock();
        let Some(row) = posted.rows.pop_front() else { return Ok(Read::Wait(Duration::from_secs(60))) };
        posted.read += 1;
        Ok(Read::Rows { rows: Batch::new(record_batch(&[row])), rejected: Vec::new() })
    }

    fn wake_with(&mut self, waker: &Waker) {
        self.posted.lock().waker = Some(waker.clone());
    }

    fn position(&self) -> Position {
        Position::from(self.posted.lock().read)
    }
}

/// The machine's, counting how often tasks look at it: each does whenever it wakes.
#[derive(Default)]
struct CountedClock(AtomicU64);

impl Clock for CountedClock {
    fn now(&self) -> ProcessingTime {
        self.0.fetch_add(1, Ordering::Relaxed);
        SystemClock.now()
    }

    fn wait_for(&self, time: ProcessingTime) -> Duration {
        SystemClock.wait_for(time)
    }
}

fn event_time(idle_timeout: Option<Duration>) -> Option<WatermarkSpec> {
    Some(WatermarkSpec { expression: column("ts", 1), time_column: 1, idle_timeout, idle_time_runs: false })
}

/// Source, windows behind an exchange, sink; it runs, and has read one row.
fn idle_job(source: &Arc<QuietSource>, options: JobOptions) -> JobHandle {
    let mut graph = Graph::default();
    let from = graph.source_with(source.clone(), event_time(None));
    let windows = graph.windows(from, ToyWindows::default());
    graph.sink(windows, MAIN_PORT, &CollectSink::new());
    let job = start(graph.build(), options).unwrap();
    source.post((1, 10));
    until(&job, "the first row", || job.status().nodes[1].rows_in == 1);
    job
}

#[test]
fn tasks_to_which_nothing_comes_sleep() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(CountedClock::default());
    let options = JobOptions { parallelism: 2, clock: clock.clone(), ..options(folder.path()) };
    let job = idle_job(&Arc::default(), options);
    std::thread::sleep(Duration::from_millis(200));
    let before = clock.0.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(2));
    let looks = clock.0.load(Ordering::Relaxed) - before;
    assert!(looks <= 8, "four tasks woke {looks} times within two seconds; every 50 ms would be 160 times");
    drop(job);
}

#[test]
fn rows_requests_and_the_end_wake_sleeping_tasks() {
    let at_once = |what: &str, since: Instant| assert!(since.elapsed() < AT_ONCE, "{what}: {:?}", since.elapsed());
    for parallelism in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let options = |name: &str| JobOptions { parallelism, ..options(&folder.path().join(name)) };
        let source = Arc::<QuietSource>::default();
        let job = idle_job(&source, options("stopped"));
        std::thread::sleep(Duration::from_millis(100));
        let asked = Instant::now();
        source.post((2, 20));
        until(&job, "a row behind a pause", || job.status().nodes[1].rows_in == 2);
        at_once("a row", asked);
        let asked = Instant::now();
        job.checkpoint().unwrap();
        at_once("a checkpoint", asked);
        let asked = Instant::now();
        job.stop();
        assert_eq!(job.wait().unwrap().outcome, Outcome::Stopped);
        at_once("a stop", asked);
        let job = idle_job(&Arc::default(), options("cancelled"));
        let asked = Instant::now();
        job.cancel();
        assert_eq!(job.wait().unwrap().outcome, Outcome::Cancelled);
        at_once("a cancellation", asked);
    }
}

#[test]
fn a_sleeping_source_that_nobody_needs_any_more_ends() {
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::<QuietSource>::default();
    let mut graph = Graph::default();
    let from = graph.source_with(source.clone(), None);
    let limit = Limit { skip: 0, fetch: Some(1), schema: row_schema() };
    let inputs = vec![input(from, MAIN_PORT, Exchange::Single)];
    let limit = graph.add("Limit", NodeKind::Operator(Arc::new(limit)), inputs, row_schema());
    graph.node(limit).parallelism = Parallelism::One;
    let sink = graph.sink(limit, MAIN_PORT, &CollectSink::new());
    graph.node(sink).parallelism = Parallelism::One;
    let job = start(graph.build(), JobOptions { parallelism: 2, ..options(folder.path()) }).unwrap();
    source.post((1, 10));
    let outcome = job.wait_for(AT_ONCE).expect("it has all that it wants").unwrap().outcome;
    assert_eq!(outcome, Outcome::Satisfied);
}

#[test]
fn a_source_that_sleeps_falls_idle_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let (silent, telling) = (Arc::<QuietSource>::default(), Arc::<QuietSource>::default());
    let mut graph = Graph::default();
    let one = graph.source_with(silent, event_time(Some(Duration::from_millis(300))));
    let other = graph.source_with(telling.clone(), event_time(None));
    let union = graph.calc([one, other].map(|from| input(from, MAIN_PORT, Exchange::Forward)).to_vec());
    let windows = graph.windows(union, ToyWindows::default());
    graph.sink(windows, MAIN_PORT, &CollectSink::new());
    let job = start(graph.build(), options(folder.path())).unwrap();
    let begun = Instant::now();
    telling.post((1, 1000));
    until(&job, "time without the silent source", || job.status().nodes[3].watermark == Some(EventTime(1000)));
    assert!(begun.elapsed() < AT_ONCE);
}

/// Gives each row on so much later, with how late it was by then, and counts its calls.
struct Later {
    delay_ms: i64,
    calls: Arc<AtomicU64>,
}

struct LaterOperator {
    delay_ms: i64,
    calls: Arc<AtomicU64>,
    due: VecDeque<i64>,
}

impl OperatorFactory for Later {
    fn create(&self) -> Result<Box<dyn Operator>> {
        let (delay_ms, calls) = (self.delay_ms, Arc::clone(&self.calls));
        Ok(Box::new(LaterOperator { delay_ms, calls, due: VecDeque::new() }))
    }
}

impl Operator for LaterOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        self.due.extend((0..batch.num_rows()).map(|_| ctx.now.0 + self.delay_ms));
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        while let Some(due) = self.due.pop_front_if(|due| *due <= ctx.now.0) {
            out.emit(MAIN_PORT, Batch::new(record_batch(&[(ctx.now.0 - due, 0)])))?;
        }
        Ok(())
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        self.due.front().copied().map(ProcessingTime)
    }
}

#[test]
fn what_is_due_by_the_clock_comes_then_and_nobody_is_called_before() {
    for exchange in [Exchange::Forward, Exchange::Rebalance] {
        let folder = tempfile::tempdir().unwrap();
        let (source, results, calls) = (Arc::<QuietSource>::default(), CollectSink::new(), Arc::<AtomicU64>::default());
        let mut graph = Graph::default();
        let from = graph.source_with(source.clone(), None);
        let later = Later { delay_ms: 400, calls: Arc::clone(&calls) };
        let inputs = vec![input(from, MAIN_PORT, exchange.clone())];
        let later = graph.add("Later", NodeKind::Operator(Arc::new(later)), inputs, row_schema());
        graph.sink(later, MAIN_PORT, &results);
        let job = start(graph.build(), options(folder.path())).unwrap();
        for number in 1..=3 {
            source.post((number, 0));
            until(&job, "what is due", || job.status().nodes[2].rows_in == number as u64);
        }
        job.checkpoint().unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), 3, "{exchange:?}: once for each row");
        for (_, batch) in results.batches() {
            let late_ms = batch.column(0).to_data().buffers()[0].typed_data::<i64>()[0];
            assert!((0..AT_ONCE.as_millis() as i64).contains(&late_ms), "{exchange:?}: {late_ms} ms late");
        }
    }
}

/// Has so much left to do behind each row, and counts how often it was asked to.
struct LeavesWork {
    calls: Arc<AtomicU64>,
}

struct LeavesWorkOperator {
    left: u64,
    calls: Arc<AtomicU64>,
}

impl LeavesWork {
    const PER_ROW: u64 = 5;
}

impl OperatorFactory for LeavesWork {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(LeavesWorkOperator { left: 0, calls: Arc::clone(&self.calls) }))
    }
}

impl Operator for LeavesWorkOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        batch: Batch,
        _ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        self.left += LeavesWork::PER_ROW * batch.num_rows() as u64;
        Ok(())
    }

    fn work_ahead(&mut self, _ctx: &mut OperatorContext) -> Result<bool> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.left = self.left.saturating_sub(1);
        Ok(self.left > 0)
    }
}

#[test]
fn idle_time_goes_to_what_barriers_would_have_to_do_until_nothing_is_left() {
    for exchange in [Exchange::Forward, Exchange::Rebalance] {
        let folder = tempfile::tempdir().unwrap();
        let (source, calls) = (Arc::<QuietSource>::default(), Arc::<AtomicU64>::default());
        let mut graph = Graph::default();
        let from = graph.source_with(source.clone(), None);
        let inputs = vec![input(from, MAIN_PORT, exchange.clone())];
        let leaves = LeavesWork { calls: Arc::clone(&calls) };
        let leaves = graph.add("Leaves", NodeKind::Operator(Arc::new(leaves)), inputs, row_schema());
        graph.sink(leaves, MAIN_PORT, &CollectSink::new());
        let job = start(graph.build(), options(folder.path())).unwrap();
        let mut before = 0;
        for number in 1..=3 {
            source.post((number, 0));
            until(&job, "the work", || calls.load(Ordering::Relaxed) >= before + LeavesWork::PER_ROW);
            std::thread::sleep(Duration::from_millis(300));
            let now = calls.load(Ordering::Relaxed);
            // Barriers and control may each be a reason to ask again, time that passes is none.
            assert!(now <= before + 2 * LeavesWork::PER_ROW, "{exchange:?}: {now} calls, {before} before the row");
            before = now;
        }
        drop(job);
    }
}
