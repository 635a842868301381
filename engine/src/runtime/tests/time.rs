//! Watermarks: per split, over idle splits and inputs, at the end, and never back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use super::kit::*;
use crate::graph::{Exchange, NodeKind};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory};
use crate::runtime::testing::CollectSink;
use crate::runtime::{JobHandle, JobOptions, start};
use crate::source::Boundedness;
use crate::time::{Clock, EventTime, ProcessingTime};
use crate::{Batch, EngineError, Result};

#[derive(Default)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now(&self) -> ProcessingTime {
        ProcessingTime(self.0.load(Ordering::Relaxed))
    }
}

pub fn until(job: &JobHandle, what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        if begin.elapsed() > Duration::from_secs(30) {
            panic!("{what} did not come about: {:#?}", job.status());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Two splits far apart in time; the early one stalls after its first row.
fn stalled() -> SplitsSource {
    let splits = vec![vec![(1, 10), (1, 1500)], (0..50).map(|i| (2, 1000 + i * 10)).collect()];
    SplitsSource::with(splits, Mischief { stall: Some((0, 1)), ..Mischief::default() })
}

#[test]
fn an_idle_split_stops_holding_time_back_and_the_holder_is_named() {
    for parallelism in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock::default());
        let source = Arc::new(stalled());
        let mischief = Arc::clone(&source.mischief);
        let pipeline = pipeline_with(source, ToyWindows::default(), Some(Duration::from_secs(60)));
        let options = JobOptions { parallelism, clock: clock.clone(), ..options(folder.path()) };
        let job = start(pipeline.graph.clone(), options).unwrap();
        until(&job, "reading", || job.status().nodes[0].rows_in >= 51);
        let watermark = || job.status().nodes[2].watermark;
        until(&job, "the held watermark", || watermark() == Some(EventTime(10)));
        until(&job, "its holder", || job.status().event_time.holder.is_some_and(|holder| holder.split == "split-0"));
        clock.0.store(61_000, Ordering::Relaxed);
        until(&job, "time without the idle split", || watermark() > Some(EventTime(1400)));
        let idle = || job.status().event_time.idle.into_iter().map(|idle| idle.split).collect::<Vec<_>>();
        until(&job, "its name among the idle ones", || idle() == ["split-0"]);
        mischief.released.store(true, Ordering::Relaxed);
        job.wait().unwrap();
        assert!(pipeline.results.rows().contains(&"+I[1, 1600, 1]".to_string()), "{parallelism}");
    }
}

#[test]
fn without_an_idle_timeout_time_waits() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(stalled());
    let job = start(pipeline.graph.clone(), options(folder.path())).unwrap();
    until(&job, "reading", || job.status().nodes[0].rows_in >= 51);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(job.status().nodes[2].watermark, Some(EventTime(10)));
}

#[test]
fn a_split_that_appears_late_is_read_and_does_not_pull_time_back() {
    for parallelism in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let splits = vec![vec![(1, 1000), (1, 2000)], vec![(1, 5), (1, 2500)], vec![(1, 2600)]];
        // Of three readers the third is through with its new split long before the second has begun with its own.
        let slow_open = Some((1, Duration::from_millis(200)));
        let mut source = SplitsSource::with(splits, Mischief { slow_open, ..Mischief::default() });
        source.boundedness = Boundedness::Unbounded;
        source.visible = Some(1);
        let source = Arc::new(source);
        let pipeline = pipeline_with(source.clone(), ToyWindows::default(), None);
        let job = start(pipeline.graph.clone(), JobOptions { parallelism, ..options(folder.path()) }).unwrap();
        until(&job, "the first split", || job.status().nodes[2].watermark == Some(EventTime(2000)));
        source.mischief.released.store(true, Ordering::Relaxed);
        until(&job, "the new splits", || job.status().nodes[0].rows_in == 5);
        job.checkpoint().unwrap();
        assert!(job.status().nodes[2].watermark >= Some(EventTime(2000)));
        let late = pipeline.late.rows();
        assert_eq!(late, ["+I[1, 1970-01-01T00:00:00.005]"], "it alone is behind the told time");
        job.stop();
        job.wait().unwrap();
    }
}

#[test]
fn an_input_that_ended_holds_neither_time_nor_barriers() {
    let folder = tempfile::tempdir().unwrap();
    let results = CollectSink::new();
    let mut graph = Graph::default();
    let short = graph.source(Arc::new(SplitsSource::new(vec![vec![(1, 10)]])), None);
    let long = Arc::new(stalled());
    let mischief = Arc::clone(&long.mischief);
    let long = graph.source(long, Some(Duration::from_millis(1)));
    let inputs = [short, long].map(|from| input(from, MAIN_PORT, Exchange::Forward)).to_vec();
    let union = graph.calc(inputs);
    let windows = graph.windows(union, ToyWindows::default());
    graph.sink(windows, MAIN_PORT, &results);
    let job = start(graph.build(), options(folder.path())).unwrap();
    until(&job, "time beyond the ended input", || job.status().nodes[2].watermark > Some(EventTime(1400)));
    for _ in 0..3 {
        job.checkpoint().unwrap();
    }
    mischief.released.store(true, Ordering::Relaxed);
    job.wait().unwrap();
    assert_eq!(job.status().nodes[3].watermark, Some(EventTime::MAX));
}

#[test]
fn a_row_without_event_time_fails_the_job_with_its_values() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(SplitsSource::new(vec![vec![(1, 10), (7, -1)]]));
    let error = run(&pipeline.graph, options(folder.path())).unwrap_err();
    assert!(matches!(&error, EngineError::BadRow { row, .. } if row == "{k=7, ts=NULL}"), "{error}");
    assert!(error.to_string().contains("RowTime field should not be null"), "{error}");
}

/// Says once per tick what time it is.
struct Ticking;

struct TickingOperator;

impl OperatorFactory for Ticking {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(TickingOperator))
    }
}

impl Operator for TickingOperator {
    fn on_batch(
        &mut self,
        _input: usize,
        _batch: Batch,
        _ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        Ok(())
    }

    fn on_time(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        out.emit(MAIN_PORT, Batch::new(record_batch(&[(0, ctx.now.0)])))
    }

    fn next_time(&self) -> Option<ProcessingTime> {
        Some(ProcessingTime::MIN)
    }
}

#[test]
fn operators_that_want_time_are_called_as_the_clock_moves_even_without_rows() {
    for exchange in [Exchange::Forward, Exchange::Rebalance] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock::default());
        let results = CollectSink::new();
        let mut graph = Graph::default();
        let source = graph.source(Arc::new(stalled()), None);
        let inputs = vec![input(source, MAIN_PORT, exchange.clone())];
        let ticking = graph.add("Ticking", NodeKind::Operator(Arc::new(Ticking)), inputs, row_schema());
        graph.sink(ticking, MAIN_PORT, &results);
        let job = start(graph.build(), JobOptions { clock: clock.clone(), ..options(folder.path()) }).unwrap();
        until(&job, "reading", || job.status().nodes[0].rows_in >= 51);
        for (now, ticks) in [(10, 0), (60, 1), (90, 1), (1000, 2)] {
            clock.0.store(now, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(60));
            until(&job, "the tick", || job.status().nodes[2].rows_in == ticks);
        }
        job.checkpoint().unwrap();
        assert_eq!(results.rows(), ["+I[0, 1970-01-01T00:00:00.060]", "+I[0, 1970-01-01T00:00:01]"], "{exchange:?}");
    }
}

#[test]
fn time_runs_on_with_the_clock_while_all_is_idle() {
    for parallelism in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock::default());
        let source = Arc::new(SplitsSource::with(
            vec![vec![(1, 10), (1, 1500)], vec![(2, 450), (2, 2500)]],
            Mischief { stall: Some((0, 1)), ..Mischief::default() },
        ));
        let mischief = Arc::clone(&source.mischief);
        let results = CollectSink::new();
        let mut graph = Graph::default();
        let from = graph.running_source(source, Duration::from_secs(60));
        let windows = graph.windows(from, ToyWindows::default());
        graph.sink(windows, MAIN_PORT, &results);
        let options = JobOptions { parallelism, clock: clock.clone(), ..options(folder.path()) };
        let job = start(graph.build(), options).unwrap();
        let watermark = || job.status().nodes[1].watermark;
        until(&job, "reading", || job.status().nodes[0].rows_in >= 3);
        clock.0.store(61_000, Ordering::Relaxed);
        // The stalled split is the only one left: its idleness shows how far the other had come.
        until(&job, "idleness", || watermark() >= Some(EventTime(10)));
        let before = watermark();
        clock.0.store(200_000, Ordering::Relaxed);
        until(&job, "time by the clock", || watermark() > before);
        clock.0.store(500_000, Ordering::Relaxed);
        until(&job, "time beyond all rows", || watermark() > Some(EventTime(100_000)));
        mischief.released.store(true, Ordering::Relaxed);
        job.wait().unwrap();
        assert!(results.rows().contains(&"+I[2, 500, 1]".to_string()), "{parallelism}: {:?}", results.rows());
        assert!(!results.rows().contains(&"+I[1, 1600, 1]".to_string()), "{parallelism}: the row came too late");
    }
}
