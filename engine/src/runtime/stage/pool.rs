//! The threads of a stage: they ask the outside world, and bring back what it answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::lookup::{Answer, Answered, Lookup, LookupFailure, Question};
use crate::runtime::launch::{STACK_BYTES, panic_text};
use crate::time::{ProcessingTime, set_call_time};
use crate::{EngineError, Result};

/// A question on its way to a thread.
struct Job {
    number: u64,
    question: Question,
    now: ProcessingTime,
}

/// Threads are started as they are needed. They are not waited for at the end: whoever waits for a server ends by itself
/// when its call is over, and what it brings back is not missed.
pub struct LookupThreads {
    lookup: Arc<dyn Lookup>,
    threads_max: usize,
    threads: usize,
    /// Questions without an answer so far.
    asked: usize,
    /// Both ends: the receiving one is for threads that are started later.
    jobs: (Sender<Job>, Receiver<Job>),
    answers: (Sender<Answered>, Receiver<Answered>),
}

impl LookupThreads {
    /// At most `threads_max` questions will be under way at the same time.
    pub fn new(lookup: Arc<dyn Lookup>, threads_max: usize) -> Self {
        // One more than the operator has under way by its own bound: the question whether the table is there.
        let room = threads_max + 1;
        Self { lookup, threads_max, threads: 0, asked: 0, jobs: bounded(room), answers: bounded(room) }
    }

    pub fn ask(&mut self, number: u64, question: Question, now: ProcessingTime) -> Result<()> {
        self.asked += 1;
        if self.asked > self.threads && self.threads < self.threads_max {
            self.start_thread()?;
        }
        let sent = self.jobs.0.try_send(Job { number, question, now });
        assert!(sent.is_ok(), "a stage asks no more questions at a time than it said");
        Ok(())
    }

    /// Where answers come in.
    pub fn answers(&self) -> &Receiver<Answered> {
        &self.answers.1
    }

    /// An answer that is there already.
    pub fn next_answer(&mut self) -> Option<Answered> {
        let answer = self.answers.1.try_recv().ok()?;
        self.asked -= 1;
        Some(answer)
    }

    fn start_thread(&mut self) -> Result<()> {
        let (lookup, jobs, answers) = (Arc::clone(&self.lookup), self.jobs.1.clone(), self.answers.0.clone());
        let work = move || {
            for job in jobs {
                set_call_time(job.now);
                let result = ask(lookup.as_ref(), &job.question);
                if answers.send(Answered { number: job.number, result }).is_err() {
                    return;
                }
            }
        };
        let builder = thread::Builder::new().name("tidemill-lookup".into()).stack_size(STACK_BYTES);
        builder.spawn(work).map_err(|error| EngineError::io("start", "a thread", error))?;
        self.threads += 1;
        Ok(())
    }
}

/// A panic within is an answer, too: otherwise the operator would wait for ever.
fn ask(lookup: &dyn Lookup, question: &Question) -> Result<Answer, LookupFailure> {
    let outcome = catch_unwind(AssertUnwindSafe(|| lookup.ask(question)));
    outcome.unwrap_or_else(|panic| {
        let error = EngineError::Internal { place: "a lookup".into(), reason: panic_text(panic.as_ref()) };
        Err(LookupFailure::Engine(error))
    })
}
