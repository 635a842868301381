//! Failures: what may pass is tried again from the last checkpoint, everything else ends the job with its cause.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::kit::*;
use crate::checkpoint::{Manifest, SplitCounts};
use crate::graph::{ChangelogMode, Exchange, NodeKind};
use crate::operator::{Collector, MAIN_PORT, Operator, OperatorContext, OperatorFactory, SIDE_PORT};
use crate::runtime::testing::CollectSink;
use crate::runtime::{JobOptions, JobState, Outcome, RestartStrategy, Restore, start};
use crate::sink::{Committable, Committer, Guarantee, Sink, SinkWriter, WriterContext};
use crate::time::EventTime;
use crate::{Batch, EngineError, Epoch, Result};

fn failing(key: i64, panics: bool, failures: u64) -> ToyWindows {
    let mischief = OperatorMischief { bad_key: Some(key), panics, failures_left: AtomicU64::new(failures) };
    ToyWindows { mischief: Arc::new(mischief) }
}

#[test]
fn an_operator_that_fails_or_panics_for_a_while_costs_nothing_but_time() {
    let splits = random_splits(21, 3, 60);
    for (parallelism, panics) in [(1, false), (2, true), (7, false)] {
        let folder = tempfile::tempdir().unwrap();
        let source = Arc::new(SplitsSource::new(splits.clone()));
        let pipeline = pipeline_with(source, failing(3, panics, 3), None);
        let options =
            JobOptions { parallelism, batch_rows: 8, checkpoint_every_batches: Some(4), ..options(folder.path()) };
        let summary = finish(&pipeline.graph, options);
        assert!((1..=3).contains(&summary.restarts), "{} restarts", summary.restarts);
        assert_eq!(pipeline.results.sorted_rows(), expected(&splits).0, "{parallelism} {panics}");
        assert_eq!(pipeline.late.sorted_rows(), expected(&splits).1, "{parallelism} {panics}");
    }
}

#[test]
fn a_source_that_breaks_down_is_read_again_from_its_position() {
    let splits = random_splits(22, 2, 90);
    let folder = tempfile::tempdir().unwrap();
    let failures_left = AtomicU64::new(5);
    let mischief = Mischief { fail_after_rows: Some(30), failures_left, ..Mischief::default() };
    let pipeline = pipeline(SplitsSource::with(splits.clone(), mischief));
    let options = JobOptions { batch_rows: 4, checkpoint_every_batches: Some(3), ..options(folder.path()) };
    let summary = finish(&pipeline.graph, options);
    assert!(summary.restarts > 2, "{} restarts", summary.restarts);
    assert_eq!(pipeline.results.sorted_rows(), expected(&splits).0);
}

#[test]
fn a_job_without_progress_gives_up_with_the_cause() {
    let folder = tempfile::tempdir().unwrap();
    let source = Arc::new(SplitsSource::new(random_splits(23, 2, 60)));
    let pipeline = pipeline_with(source, failing(3, true, u64::MAX), None);
    let restart =
        RestartStrategy { fruitless_max: 3, initial_backoff: Duration::from_millis(1), ..RestartStrategy::default() };
    let job = start(pipeline.graph.clone(), JobOptions { parallelism: 2, restart, ..options(folder.path()) }).unwrap();
    let error = job.wait().unwrap_err();
    let EngineError::GaveUp { restarts: 3, fruitless: true, cause, .. } = &error else { panic!("{error}") };
    assert!(matches!(&**cause, EngineError::Internal { reason, .. } if reason.contains("told to panic")), "{error}");
    assert!(error.to_string().contains("gave up after 3 restarts in a row"), "{error}");
    let status = job.status();
    assert_eq!((status.state, status.restarts), (JobState::Failed, 3));
    assert!(status.last_error.unwrap().contains("told to panic"));
    assert!(pipeline.results.rows().is_empty());
}

#[test]
fn a_job_that_comes_further_with_every_attempt_is_restarted_as_often_as_it_takes() {
    let splits = random_splits(28, 1, 300);
    let folder = tempfile::tempdir().unwrap();
    let mischief =
        Mischief { fail_after_rows: Some(9), failures_left: AtomicU64::new(u64::MAX), ..Mischief::default() };
    let pipeline = pipeline(SplitsSource::with(splits.clone(), mischief));
    let mut options = JobOptions { batch_rows: 4, checkpoint_every_batches: Some(1), ..options(folder.path()) };
    options.restart = RestartStrategy { fruitless_max: 2, max_backoff: Duration::from_millis(1), ..options.restart };
    let summary = finish(&pipeline.graph, options);
    assert!(summary.restarts > 20, "{} restarts", summary.restarts);
    assert_eq!(pipeline.results.sorted_rows(), expected(&splits).0);
}

#[test]
fn a_checkpoint_that_takes_too_long_fails_the_job_and_names_who_is_waited_for() {
    let slow = || Mischief { slow: Some(Duration::from_millis(150)), ..Mischief::default() };
    let job = |tolerated_timeouts| {
        let folder = tempfile::tempdir().unwrap();
        let pipeline = pipeline(SplitsSource::with(random_splits(29, 1, 12), slow()));
        let options = JobOptions {
            checkpoint_interval: Some(Duration::from_millis(10)),
            checkpoint_timeout: Duration::from_millis(20),
            tolerated_timeouts,
            restart: RestartStrategy::never(),
            batch_rows: 6,
            ..options(folder.path())
        };
        run(&pipeline.graph, options)
    };
    let error = job(0).unwrap_err();
    assert!(matches!(&error, EngineError::CheckpointTimeout { .. }), "{error}");
    assert!(error.to_string().contains("waiting for Source[0]"), "{error}");
    let summary = job(1000).unwrap();
    assert!(summary.notes.iter().any(|note| note.contains("tolerated")), "{:?}", summary.notes);
}

#[test]
fn every_split_accounts_for_its_records_through_failures() {
    let splits = random_splits(30, 3, 80);
    let folder = tempfile::tempdir().unwrap();
    let failures_left = AtomicU64::new(6);
    let mischief = Mischief { fail_after_rows: Some(30), failures_left, rejected_key: Some(4), ..Mischief::default() };
    let pipeline = pipeline(SplitsSource::with(splits.clone(), mischief));
    let options =
        JobOptions { parallelism: 2, batch_rows: 4, checkpoint_every_batches: Some(3), ..options(folder.path()) };
    let epoch = finish(&pipeline.graph, options).epoch;
    let path = folder.path().join(format!("checkpoints/{:08}/MANIFEST", epoch.0));
    let manifest = Manifest::decode(&path, &std::fs::read(&path).unwrap()).unwrap();
    for (split, state) in splits.iter().zip(&manifest.sources[0].splits) {
        let rejected = split.iter().filter(|row| row.0 == 4).count() as u64;
        let expected = SplitCounts { given: split.len() as u64 - rejected, rejected };
        assert_eq!(state.counts, expected, "{}", state.split.id);
    }
}

#[test]
fn a_bad_row_fails_the_job_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(SplitsSource::new(vec![vec![(1, 10), (1, -1)]]));
    let job = start(pipeline.graph.clone(), options(folder.path())).unwrap();
    assert!(matches!(job.wait(), Err(EngineError::BadRow { .. })));
    assert_eq!(job.status().restarts, 0);
    assert!(matches!(job.wait(), Err(EngineError::BadRow { .. })), "the outcome can be asked for again");
}

#[test]
fn a_plan_whose_state_differs_is_refused_with_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let splits = random_splits(24, 2, 60);
    let build = |signature: &str| {
        let sink = CollectSink::new();
        let mut graph = Graph::default();
        let mischief = Mischief { stall: Some((0, 10)), ..Mischief::default() };
        let source = graph.source(Arc::new(SplitsSource::with(splits.clone(), mischief)), None);
        let windows = graph.windows(source, ToyWindows::default());
        graph.node(windows).state_signature = Some(signature.into());
        graph.sink(windows, MAIN_PORT, &sink);
        graph.build()
    };
    let job = start(build("tumble 100"), options(folder.path())).unwrap();
    job.checkpoint().unwrap();
    drop(job);
    let error = run(&build("tumble 200"), options(folder.path())).unwrap_err();
    let EngineError::StateMismatch { reasons } = &error else { panic!("{error}") };
    assert!(reasons[0].contains("tumble 100") && reasons[0].contains("tumble 200"), "{error}");
    let fresh = JobOptions { restore: Restore::Fresh, ..options(folder.path()) };
    let job = start(build("tumble 200"), fresh).unwrap();
    job.checkpoint().unwrap();
}

#[test]
fn more_instances_than_key_groups_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = pipeline(SplitsSource::new(vec![]));
    let error = run(&pipeline.graph, JobOptions { parallelism: 200, ..options(folder.path()) }).unwrap_err();
    assert!(matches!(error, EngineError::StateMismatch { .. }), "{error}");
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_loudly() {
    let splits = random_splits(25, 2, 80);
    let folder = tempfile::tempdir().unwrap();
    let mischief = Mischief { stall: Some((0, 40)), ..Mischief::default() };
    let source = Arc::new(SplitsSource::with(splits.clone(), mischief));
    let pipeline = pipeline_with(source.clone(), ToyWindows::default(), None);
    let job = start(pipeline.graph.clone(), options(folder.path())).unwrap();
    let first = job.checkpoint().unwrap();
    let second = job.checkpoint().unwrap();
    drop(job);
    let manifest = folder.path().join(format!("checkpoints/{:08}/MANIFEST", second.0));
    let mut bytes = std::fs::read(&manifest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&manifest, bytes).unwrap();
    source.mischief.released.store(true, Ordering::Relaxed);
    let job = start(pipeline.graph.clone(), options(folder.path())).unwrap();
    let summary = job.wait().unwrap();
    assert_eq!(summary.outcome, Outcome::Finished);
    assert!(summary.notes[0].contains("damaged"), "{:?}", summary.notes);
    assert!(summary.epoch > second, "epochs never go back: {} after {first} and {second}", summary.epoch);
}

#[test]
fn cancelling_is_prompt_while_everything_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let sink = CollectSink::new();
    let mut graph = Graph::default();
    let rows: Vec<Row> = (0..200_000).map(|i| (i % 7, i)).collect();
    let source = graph.source(Arc::new(SplitsSource::new(vec![rows.clone(), rows])), None);
    let calc = graph.calc(vec![input(source, MAIN_PORT, Exchange::Rebalance)]);
    let windows = graph.windows(calc, ToyWindows::default());
    graph.sink(windows, SIDE_PORT, &sink);
    let options = JobOptions { parallelism: 3, batch_rows: 10, channel_batches: 1, ..options(folder.path()) };
    let job = start(graph.build(), options.clone()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let begin = Instant::now();
    job.cancel();
    assert_eq!(job.wait().unwrap().outcome, Outcome::Cancelled);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    // The state directory is free again, and nobody of the cancelled job still writes to it.
    drop(job);
    drop(crate::checkpoint::CheckpointStore::open(&options.state_dir).unwrap());
}

#[test]
fn a_state_directory_serves_one_job_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let mischief = Mischief { stall: Some((0, 1)), ..Mischief::default() };
    let pipeline = pipeline(SplitsSource::with(random_splits(26, 1, 5), mischief));
    let _first = start(pipeline.graph.clone(), options(folder.path())).unwrap();
    let second = start(pipeline.graph.clone(), options(folder.path()));
    assert!(matches!(second, Err(EngineError::StateInUse { .. })));
}

/// Publishes, and then says that it could not: for as long as failures are left.
#[derive(Debug, Clone)]
struct FlakySink {
    inner: CollectSink,
    commit_failures: Arc<AtomicU64>,
    finish_failures: Arc<AtomicU64>,
}

struct FlakyCommitter {
    inner: Box<dyn Committer>,
    sink: FlakySink,
}

fn fail_while(left: &AtomicU64) -> Result<()> {
    let take = |left: u64| left.checked_sub(1);
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
        Ok(_) => Err(EngineError::Connector { connector: "flaky".into(), reason: "no answer".into() }),
        Err(_) => Ok(()),
    }
}

impl Sink for FlakySink {
    fn accepts(&self) -> ChangelogMode {
        self.inner.accepts()
    }

    fn guarantee(&self) -> Guarantee {
        self.inner.guarantee()
    }

    fn writer(&self, context: &WriterContext, restored: Vec<serde_json::Value>) -> Result<Box<dyn SinkWriter>> {
        self.inner.writer(context, restored)
    }

    fn committer(&self, job_id: &str) -> Result<Option<Box<dyn Committer>>> {
        let inner = self.inner.committer(job_id)?.expect("the sink in memory commits");
        Ok(Some(Box::new(FlakyCommitter { inner, sink: self.clone() })))
    }
}

impl Committer for FlakyCommitter {
    fn commit(&mut self, epoch: Epoch, committables: &[Committable]) -> Result<()> {
        self.inner.commit(epoch, committables)?;
        fail_while(&self.sink.commit_failures)
    }

    fn discard_unknown(&mut self, job_id: &str, restored: Epoch, kept: &[serde_json::Value]) -> Result<()> {
        self.inner.discard_unknown(job_id, restored, kept)
    }

    fn finish(&mut self) -> Result<()> {
        self.inner.finish()?;
        fail_while(&self.sink.finish_failures)
    }
}

#[test]
fn output_whose_commit_got_no_answer_is_committed_again_and_shown_once() {
    let splits = random_splits(27, 2, 60);
    for (commit_failures, finish_failures) in [(3, 0), (0, 2), (2, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let sink = FlakySink {
            inner: CollectSink::new(),
            commit_failures: Arc::new(AtomicU64::new(commit_failures)),
            finish_failures: Arc::new(AtomicU64::new(finish_failures)),
        };
        let mut graph = Graph::default();
        let source = graph.source(Arc::new(SplitsSource::new(splits.clone())), None);
        let windows = graph.windows(source, ToyWindows::default());
        let inputs = vec![input(windows, MAIN_PORT, Exchange::Forward)];
        graph.add("Sink", NodeKind::Sink(Arc::new(sink.clone())), inputs, toy_schema());
        let options = JobOptions { batch_rows: 8, checkpoint_every_batches: Some(3), ..options(folder.path()) };
        let summary = finish(&graph.build(), options);
        assert_eq!(summary.restarts, commit_failures + finish_failures);
        assert_eq!(sink.inner.sorted_rows(), expected(&splits).0, "{commit_failures} {finish_failures}");
    }
}

/// Emits without end at the first watermark.
struct Endless;

impl OperatorFactory for Endless {
    fn create(&self) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Endless))
    }
}

impl Operator for Endless {
    fn on_batch(
        &mut self,
        _input: usize,
        _batch: Batch,
        _ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        Ok(())
    }

    fn on_watermark(&mut self, _mark: EventTime, _ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()> {
        loop {
            out.emit(MAIN_PORT, Batch::new(record_batch(&[(1, 1)])))?;
        }
    }
}

#[test]
fn a_watermark_that_fires_without_end_is_cancelled_between_two_batches() {
    let folder = tempfile::tempdir().unwrap();
    let mut graph = Graph::default();
    let source = graph.source(Arc::new(SplitsSource::new(vec![vec![(1, 1)]])), None);
    let forward = input(source, MAIN_PORT, Exchange::Forward);
    let endless = graph.add("Endless", NodeKind::Operator(Arc::new(Endless)), vec![forward], row_schema());
    let job = start(graph.build(), options(folder.path())).unwrap();
    let emitted = || job.status().nodes[endless.0].rows_out;
    while emitted() < 10 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let before = emitted();
    while emitted() == before {
        std::thread::sleep(Duration::from_millis(1));
    }
    job.cancel();
    assert_eq!(job.wait().unwrap().outcome, Outcome::Cancelled);
}
