//! The trace of a job's run: it begins with the start, which may belong to a request, and ends with the job. Checkpoints are
//! traces of their own, linked with the run: a run of weeks would make one of a million spans.

use std::sync::Arc;

use parking_lot::Mutex;
use tidemill_engine::runtime::{JobStatus, JobSummary, Outcome};

use super::context::SpanContext;
use super::span::{Kind, Span, ns, ns_before_now};
use super::{Tracer, current};

/// What the spans of a job have in common.
#[derive(Clone)]
struct Names {
    id: String,
    name: String,
}

impl Names {
    fn name(&self, span: &mut Span) {
        span.set("tidemill.job.id", self.id.as_str());
        span.set("tidemill.job.name", self.name.as_str());
    }
}

/// A job that is being started, or runs.
pub struct JobTrace {
    tracer: Tracer,
    names: Names,
    /// Of planning and starting; `None` when that is over.
    start: Mutex<Option<Span>>,
    /// From the start of the threads to the job's end.
    run: Mutex<Option<Span>>,
    /// Hides what must not leave the server.
    hide: Box<dyn Fn(&str) -> String + Send + Sync>,
}

impl JobTrace {
    /// Begins the span of the start, below that of the request where one asked for it.
    pub fn begin(
        tracer: &Tracer,
        id: &str,
        name: &str,
        hide: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Arc<Self> {
        let names = Names { id: id.to_string(), name: name.to_string() };
        let mut start = tracer.span("job start", Kind::Internal, current().as_ref());
        names.name(&mut start);
        Arc::new(Self {
            tracer: tracer.clone(),
            names,
            start: Mutex::new(Some(start)),
            run: Mutex::default(),
            hide: Box::new(hide),
        })
    }

    /// A step of the start.
    pub fn step(&self, name: &'static str) -> Span {
        let parent = self.start.lock().as_ref().and_then(Span::context);
        self.tracer.span(name, Kind::Internal, parent.as_ref())
    }

    /// The threads run: the start is over, the run begins.
    pub fn started(&self, parallelism: usize) {
        let parent = self.start.lock().take().and_then(|start| start.context());
        let mut run = self.tracer.span("job run", Kind::Internal, parent.as_ref());
        self.names.name(&mut run);
        run.set("tidemill.parallelism", parallelism as u64);
        *self.run.lock() = Some(run);
    }

    /// The job was not started, and why.
    pub fn refused(&self, why: &str) {
        if let Some(mut start) = self.start.lock().take() {
            start.fail((self.hide)(why));
        }
    }

    /// It failed, and will be started again.
    pub fn restarts(&self, why: &str) {
        if let Some(run) = self.run.lock().as_mut() {
            run.event("restart", vec![("exception.message", (self.hide)(why).into())]);
        }
    }

    pub fn ended(&self, outcome: &tidemill_engine::Result<JobSummary>) {
        let Some(mut run) = self.run.lock().take() else { return };
        match outcome {
            Ok(summary) => {
                run.set("tidemill.job.outcome", outcome_name(summary.outcome));
                run.set("tidemill.checkpoints", summary.checkpoints);
                run.set("tidemill.restarts", summary.restarts);
            }
            Err(error) => {
                run.set("tidemill.job.outcome", "failed");
                run.fail((self.hide)(&error.to_string()));
            }
        }
    }

    /// The newest checkpoint that was completed; `unseen` were completed between the one that was told before and this one.
    pub fn checkpoint(&self, status: &JobStatus, unseen: u64) {
        let last = &status.checkpoint;
        let (Some(age), Some(took), Some(commit)) = (last.last_age, last.last_duration, last.last_commit) else {
            return;
        };
        let run = self.run.lock().as_ref().and_then(Span::context);
        // Not recorded where the run is not.
        let root = SpanContext { is_sampled: run.as_ref().is_none_or(|run| run.is_sampled), ..SpanContext::root() };
        let mut whole = Span::named(&self.tracer, "checkpoint", Kind::Internal, root, None);
        self.names.name(&mut whole);
        whole.set("tidemill.checkpoint.epoch", status.epoch.0);
        whole.set("tidemill.checkpoint.state_bytes", last.last_bytes.unwrap_or_default());
        if unseen > 0 {
            whole.set("tidemill.checkpoint.unseen_before", unseen);
        }
        whole.link(run);
        let parent = whole.context();
        let commit = commit.min(took);
        let (start_ns, write) = (ns_before_now(age + took), took - commit);
        let phase = |name: &'static str| self.tracer.span(name, Kind::Internal, parent.as_ref());
        phase("checkpoint write").lasted(start_ns, write);
        phase("checkpoint commit").lasted(start_ns.saturating_add(ns(write)), commit);
        whole.lasted(start_ns, took);
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Finished | Outcome::Satisfied | Outcome::AlreadyComplete => "finished",
        Outcome::Stopped => "stopped",
        Outcome::Cancelled => "cancelled",
    }
}
