//! Rows are visible once and only once, wherever the job is killed.
//!
//! A small job is driven by hand: it writes rows, prepares, saves its checkpoint, commits, and can be killed before any
//! of these steps. Killing drops everything in memory; what is in the files stays.

use std::collections::BTreeSet;
use std::fs;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tidemill_engine::operator::Subtask;
use tidemill_engine::sink::{Committable, Prepared, WriterContext};
use tidemill_engine::time::ProcessingTime;
use tidemill_engine::{Batch, Epoch, Result};

use super::*;

const OWNER: &str = "job/sink";
const COLUMNS: &[(&str, DataType)] = &[("id", DataType::Int64), ("part", DataType::Utf8)];
/// Rows of the whole input, and of one epoch.
const ROWS: i64 = 12;
const EPOCH_ROWS: i64 = 3;

/// A completed checkpoint.
#[derive(Clone, Default)]
struct Saved {
    epoch: u64,
    rows: i64,
    committables: Vec<Committable>,
    states: Vec<serde_json::Value>,
}

struct Job {
    folder: TempDir,
    spec: TableSpec,
    checkpoints: Vec<Saved>,
    /// Of any checkpoint so far, lost ones included.
    rows_saved_max: i64,
    attempt: u64,
    parallelism: usize,
    /// Steps until the job is killed.
    steps_left: usize,
}

/// The job was killed.
struct Killed;

impl Job {
    fn new(options: &[(&str, &str)], partitioned: bool) -> Self {
        // In memory where there is such a folder: these tests sync thousands of times, and kill no machine.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let mut spec = table(&folder.path().join("out/deep"), COLUMNS, options);
        if partitioned {
            spec.partition_keys = vec!["part".into()];
        }
        let checkpoints = vec![Saved::default()];
        Self { folder, spec, checkpoints, rows_saved_max: 0, attempt: 0, parallelism: 1, steps_left: usize::MAX }
    }

    fn step(&mut self) -> Result<(), Killed> {
        if self.steps_left == 0 {
            return Err(Killed);
        }
        self.steps_left -= 1;
        Ok(())
    }

    fn latest(&self) -> &Saved {
        self.checkpoints.last().expect("the empty checkpoint, at least")
    }

    /// Recovers and runs until the end or until it is killed.
    fn run(&mut self) -> Result<(), Killed> {
        self.attempt += 1;
        let saved = self.latest().clone();
        let sink = Registry::standard().sink(&self.spec, self.spec.columns.clone()).expect("a sink");
        let mut committer = sink.committer(OWNER).expect("a committer").expect("files are committed");
        committer.commit(Epoch(saved.epoch), &saved.committables).expect("committed again");
        self.step()?;
        committer.discard_unknown(OWNER, Epoch(saved.epoch), &saved.states).expect("discarded");
        self.step()?;
        let writer = |index: usize| {
            let subtask = Subtask { index, parallelism: self.parallelism };
            let context =
                WriterContext { job_id: OWNER.into(), attempt: self.attempt, subtask, now: ProcessingTime(0) };
            let fall_here = |(n, _): &(usize, &serde_json::Value)| n % self.parallelism == index;
            let states = saved.states.iter().enumerate().filter(fall_here).map(|(_, state)| state.clone()).collect();
            sink.writer(&context, states).expect("a writer")
        };
        let mut writers: Vec<_> = (0..self.parallelism).map(writer).collect();
        let (mut row, mut epoch) = (saved.rows, saved.epoch);
        while row < ROWS {
            epoch += 1;
            for _ in 0..EPOCH_ROWS {
                let writer = &mut writers[row as usize % self.parallelism];
                writer.write(&batch(row), ProcessingTime(row)).expect("written");
                writer.on_time(ProcessingTime(row * 1000)).expect("time passes");
                row += 1;
                self.step()?;
            }
            let mut saved = Saved { epoch, rows: row, ..Saved::default() };
            for writer in &mut writers {
                let prepared: Prepared = writer.prepare(Epoch(epoch), row == ROWS).expect("prepared");
                saved.committables.extend(prepared.committables);
                saved.states.extend(prepared.state);
                self.step()?;
            }
            self.checkpoints.push(saved.clone());
            self.rows_saved_max = self.rows_saved_max.max(row);
            self.step()?;
            self.commit_half(&saved);
            self.step()?;
            committer.commit(Epoch(epoch), &saved.committables).expect("committed");
            committer.commit(Epoch(epoch), &saved.committables).expect("committed twice");
            self.step()?;
        }
        committer.finish().expect("finished");
        Ok(())
    }

    /// What a commit leaves behind when it is killed in the middle.
    fn commit_half(&self, saved: &Saved) {
        for committable in &saved.committables[..saved.committables.len() / 2] {
            let text = |key: &str| committable.0[key].as_str().expect("a text");
            let folder = self.root().join(text("folder"));
            fs::rename(folder.join(text("hidden")), folder.join(text("published"))).expect("renamed");
        }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("out/deep")
    }

    /// The rows that a reader sees now, sorted.
    fn visible(&self) -> Vec<i64> {
        if !self.root().exists() {
            return vec![];
        }
        let source = source(&self.spec, &names(&self.spec));
        let splits = source.discover().expect("splits");
        let mut all = vec![];
        for split in splits {
            for rows in read(&source, &split, None, 100).expect("rows").0 {
                let parts = rows["part"].as_string::<i32>();
                for (id, part) in ids(std::slice::from_ref(&rows)).into_iter().zip(parts) {
                    assert_eq!(part, part_of(id), "row {id}");
                    all.push(id);
                }
            }
        }
        all.sort_unstable();
        all
    }

    /// Names of files below the root that are not part of the output.
    fn leftovers(&self) -> Vec<String> {
        let pattern = format!("{}/**/.*", self.root().display());
        let names = glob::glob(&pattern).expect("a pattern").map(|path| path.expect("a path"));
        let names = names.filter_map(|path| Some(path.file_name()?.to_str()?.to_string()));
        names.filter(|name| !name.starts_with(".committed-")).collect()
    }
}

fn part_of(id: i64) -> Option<&'static str> {
    [Some("a/b"), None, Some("ü=%")][id as usize % 3]
}

fn batch(id: i64) -> Batch {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(vec![id])), Arc::new(StringArray::from(vec![part_of(id)]))];
    // The query's own column names do not matter.
    let schema = Schema::new(vec![Field::new("x", DataType::Int64, true), Field::new("y", DataType::Utf8, true)]);
    Batch::new(RecordBatch::try_new(Arc::new(schema), columns).expect("rows"))
}

/// Nothing is visible that no completed checkpoint covers, and nothing twice.
fn check_visible(job: &Job, context: &str) {
    let visible = job.visible();
    let distinct: BTreeSet<i64> = visible.iter().copied().collect();
    assert_eq!(distinct.len(), visible.len(), "{context}: {visible:?}");
    assert!(visible.iter().all(|id| *id < job.rows_saved_max), "{context}: {visible:?}");
}

fn check_finished(job: &Job, context: &str) {
    assert_eq!(job.visible(), (0..ROWS).collect::<Vec<_>>(), "{context}");
    assert_eq!(job.leftovers(), Vec::<String>::new(), "{context}");
    assert!(job.root().join("_SUCCESS").exists(), "{context}");
    for part in job.spec.partition_keys.iter().flat_map(|_| fs::read_dir(job.root()).expect("folders")) {
        let path = part.expect("a folder").path();
        assert!(!path.is_dir() || path.join("_SUCCESS").exists(), "{context}: {}", path.display());
    }
}

const ROLL: (&str, &str) = ("sink.rolling-policy.on-checkpoint", "false");

fn worlds() -> Vec<Vec<(&'static str, &'static str)>> {
    let small = ("sink.rolling-policy.file-size", "40");
    let timely = [("sink.rolling-policy.rollover-interval", "4 s"), ("sink.rolling-policy.check-interval", "1 s")];
    vec![
        vec![("format", "json")],
        vec![("format", "json"), small],
        vec![("format", "json"), ROLL],
        vec![("format", "json"), ROLL, small],
        [vec![("format", "json"), ROLL], timely.to_vec()].concat(),
        vec![("format", "json"), ROLL, ("compression", "gzip")],
        vec![("format", "json"), ("compression", "zstd")],
        vec![("format", "csv"), ("csv.header", "true"), ("csv.null-literal", "~"), ROLL, small],
        vec![("format", "csv"), ("csv.header", "true"), ("csv.null-literal", "~")],
        vec![("format", "parquet")],
    ]
}

#[test]
fn rows_are_visible_once_wherever_the_job_is_killed() {
    for options in worlds() {
        for partitioned in [false, true] {
            for steps in 0.. {
                let mut job = Job::new(&options, partitioned);
                job.parallelism = 2;
                job.steps_left = steps;
                let killed = job.run().is_err();
                let context = format!("{options:?}, partitioned {partitioned}, killed after {steps} steps");
                check_visible(&job, &context);
                job.steps_left = usize::MAX;
                job.parallelism = 1 + steps % 3;
                assert!(job.run().is_ok());
                check_finished(&job, &context);
                if !killed {
                    break;
                }
            }
        }
    }
}

/// Kills again and again, changes the parallelism, and sometimes loses the newest checkpoint.
#[test]
fn rows_are_visible_once_after_any_number_of_kills_and_fallbacks() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let worlds = worlds();
    for round in 0..150 {
        let options = &worlds[round % worlds.len()];
        let mut job = Job::new(options, rng.random_bool(0.5));
        let mut history = vec![];
        loop {
            job.steps_left = rng.random_range(0..30);
            job.parallelism = rng.random_range(1..4);
            history.push((job.steps_left, job.parallelism));
            let killed = job.run().is_err();
            let context = format!("round {round}: {options:?} {history:?}");
            check_visible(&job, &context);
            if !killed {
                check_finished(&job, &context);
                break;
            }
            if job.checkpoints.len() > 2 && rng.random_bool(0.3) {
                job.checkpoints.pop();
                history.push((usize::MAX, 0));
            }
        }
    }
}

#[test]
fn an_open_file_is_hidden_over_checkpoints_and_published_once() {
    let mut job = Job::new(&[("format", "json"), ROLL], false);
    job.steps_left = 9;
    assert!(job.run().is_err());
    assert_eq!((job.latest().rows, job.visible().len()), (3, 0), "one open file");
    job.steps_left = usize::MAX;
    assert!(job.run().is_ok());
    let files = fs::read_dir(job.root()).expect("files").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let parts: Vec<String> = files.filter(|name| name.starts_with("part-")).collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
}

/// A savepoint's open file is copied, so both jobs can go on from it.
#[test]
fn two_jobs_go_on_from_one_savepoint() {
    for publish in [false, true] {
        let mut job = Job::new(&[("format", "json"), ROLL], false);
        job.steps_left = 9;
        assert!(job.run().is_err());
        let savepoint = job.latest().clone();
        if publish {
            job.steps_left = usize::MAX;
            assert!(job.run().is_ok());
        }
        let sink = Registry::standard().sink(&job.spec, job.spec.columns.clone()).expect("a sink");
        let mut committer = sink.committer("other/sink").expect("a committer").expect("files are committed");
        committer.commit(Epoch(savepoint.epoch), &savepoint.committables).expect("committed again");
        committer.discard_unknown("other/sink", Epoch(savepoint.epoch), &savepoint.states).expect("nothing of its own");
        let subtask = Subtask { index: 0, parallelism: 1 };
        let context = WriterContext { job_id: "other/sink".into(), attempt: 1, subtask, now: ProcessingTime(0) };
        let mut writer = sink.writer(&context, savepoint.states.clone()).expect("a writer");
        writer.write(&batch(100), ProcessingTime(0)).expect("written");
        let prepared = writer.prepare(Epoch(savepoint.epoch + 1), true).expect("prepared");
        committer.commit(Epoch(savepoint.epoch + 1), &prepared.committables).expect("committed");
        job.steps_left = usize::MAX;
        assert!(publish || job.run().is_ok());
        // The first three rows belong to both.
        let expected: Vec<i64> = [0, 0, 1, 1, 2, 2].into_iter().chain(3..ROWS).chain([100]).collect();
        assert_eq!(job.visible(), expected, "published before: {publish}");
    }
}

#[test]
fn published_files_that_were_taken_away_are_not_missed() {
    let mut job = Job::new(&[("format", "json")], false);
    assert!(job.run().is_ok());
    let last = job.latest().clone();
    for entry in fs::read_dir(job.root()).expect("files") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            fs::remove_file(path).expect("removed");
        }
    }
    let sink = Registry::standard().sink(&job.spec, job.spec.columns.clone()).expect("a sink");
    let mut committer = sink.committer(OWNER).expect("a committer").expect("files are committed");
    committer.commit(Epoch(last.epoch), &last.committables).expect("they were published once");
    let never = Epoch(last.epoch + 1);
    let error = committer.commit(never, &last.committables).expect_err("these never were");
    assert!(error.to_string().contains("neither it nor"), "{error}");
}

#[test]
fn sinks_that_share_a_folder_leave_each_other_alone() {
    let mut job = Job::new(&[("format", "json")], false);
    job.steps_left = 5;
    assert!(job.run().is_err());
    let hidden = job.leftovers();
    assert!(!hidden.is_empty());
    let sink = Registry::standard().sink(&job.spec, job.spec.columns.clone()).expect("a sink");
    let mut other = sink.committer("job/other").expect("a committer").expect("files are committed");
    other.discard_unknown("job/other", Epoch::ZERO, &[]).expect("nothing of its own");
    assert_eq!(job.leftovers(), hidden);
}

#[test]
fn a_path_that_is_a_file_is_refused_with_a_hint() {
    let job = Job::new(&[("format", "json")], false);
    fs::write(job.folder.path().join("out"), "in the way").expect("written");
    let sink = Registry::standard().sink(&job.spec, job.spec.columns.clone()).expect("a sink");
    let error = sink.committer(OWNER).err().expect("refused").to_string();
    assert!(error.contains("/out") && error.contains("hint"), "{error}");
}
