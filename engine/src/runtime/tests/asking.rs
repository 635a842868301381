//! Who asks a job for a checkpoint gets an answer, whenever the job ends.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use super::kit::{SplitsSource, options, pipeline, random_splits};
use crate::EngineError;
use crate::runtime::{Outcome, start};

/// A question that the job's end left unread used to wait for ever. Many askers, so that some ask in that very moment.
#[test]
fn nobody_waits_for_an_answer_from_a_job_that_ends_meanwhile() {
    const ROUNDS: u64 = 40;
    const ASKERS: usize = 6;
    /// Far beyond any checkpoint of a few rows: who has no answer by then never gets one.
    const PATIENCE: Duration = Duration::from_secs(120);
    for round in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let rows = if round % 2 == 0 { 5 } else { 60 };
        let pipeline = pipeline(SplitsSource::new(random_splits(round, 2, rows)));
        let job = Arc::new(start(pipeline.graph.clone(), options(folder.path())).unwrap());
        let (done, all_done) = channel();
        for _ in 0..ASKERS {
            let (job, done) = (Arc::clone(&job), done.clone());
            thread::spawn(move || {
                let refusal = loop {
                    if let Err(refusal) = job.checkpoint() {
                        break refusal;
                    }
                };
                done.send(refusal).unwrap();
            });
        }
        for _ in 0..ASKERS {
            let refusal = all_done.recv_timeout(PATIENCE).expect("every asker gets an answer");
            assert!(matches!(refusal, EngineError::Unsupported(_)), "{refusal}");
        }
        assert_eq!(job.wait().unwrap().outcome, Outcome::Finished);
    }
}
