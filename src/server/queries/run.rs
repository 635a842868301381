//! The thread of an ad-hoc query: reads its rows, and gives them to its client or keeps them until they are all there.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde_json::{Value, json};
use tidemill_engine::runtime::JobSummary;
use tidemill_engine::{Batch, EngineError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::message::{self, Form, Framing, columns, order, rows_messages, table_message};
use super::outlet::{Outlet, StreamBody};
use super::pages::{Kept, Page, Rows};
use super::registry::{Entry, Place, Queries};
use super::request::{Answer, QueryRequest};
use super::stop::{Reason, Waiting};
use crate::jobs::{Adhoc, AdhocRequest, Refusal, shown_sql};
use crate::query::{Event, FoldedView, LiveQuery, ProgressMeter};
use crate::repl::{rows_of, text_rows};
use crate::server::app::App;
use crate::server::auth::{Caller, Role};
use crate::server::listen::Hangup;
use crate::server::problem::{Kind, Problem};
use crate::status::losses;

/// How often a client hears how far its query is; what is written also shows that the client is gone.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);
/// How often a table that changes is sent.
const TABLE_INTERVAL: Duration = Duration::from_millis(200);
/// A thread that encodes rows needs little.
const STACK_BYTES: usize = 512 * 1024;
/// Rows that are folded on the server, whatever is asked for.
const FOLDED_ROWS_MAX: usize = 1_000_000;

/// An answer that has begun.
pub enum Started {
    Stream(Framing, StreamBody),
    /// The first page, when all rows are there.
    Whole(oneshot::Receiver<Result<Page, Problem>>, Waiting),
}

/// Plans and starts what the request asks for. Blocks while it plans.
pub fn start(
    app: &Arc<App>,
    request: QueryRequest,
    caller: &Caller,
    hangup: Option<Hangup>,
) -> Result<Started, Problem> {
    let queries = &app.queries;
    let redactor = app.supervisor.planner.redactor();
    let entry = Entry::new(&caller.name, redactor.hide(&shown_sql(&request.sql)), request.mode());
    let place = queries.admit(entry)?;
    let adhoc = AdhocRequest {
        sql: request.sql.clone(),
        setup: request.setup.clone(),
        job: request.job.as_ref().map(|job| app.supervisor.find(job)).transpose()?,
        settings: request.settings.clone(),
        reader: request.reader(),
        may_connect: caller.role >= Role::Operate,
        memory_bytes_max: queries.limits.memory_bytes_max,
    };
    let source = match app.supervisor.planner.start_query(&adhoc, &queries.folder)? {
        Adhoc::Query(query) => Source::Query(query),
        Adhoc::Answer(answer) => Source::answer(answer)?,
    };
    let whole = request.answer == Answer::Whole;
    if let (true, Source::Query(query)) = (whole, &source)
        && query.is_endless()
    {
        return Err(Problem::new(Kind::NotAcceptable, "the query has no end, so it cannot be answered as a whole")
            .with_hint("ask for text/event-stream or application/x-ndjson, or end the query with LIMIT"));
    }
    let stop = Arc::clone(&place.entry.stop);
    let mut run = Run { app: Arc::clone(app), place, request, rows: 0, runtime: Handle::current() };
    match run.request.answer {
        Answer::Stream(framing) => {
            let stall = queries.limits.stall_timeout;
            let (outlet, body) = Outlet::open(framing, redactor.clone(), stall, hangup, stop);
            spawn(move || run.stream(source, outlet))?;
            Ok(Started::Stream(framing, body))
        }
        Answer::Whole => {
            let (sender, receiver) = oneshot::channel();
            spawn(move || drop(sender.send(run.whole(source))))?;
            Ok(Started::Whole(receiver, Waiting(stop)))
        }
    }
}

fn spawn(work: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let builder = thread::Builder::new().name("tidemill-query".into()).stack_size(STACK_BYTES);
    let spawned = builder.spawn(work);
    spawned.map(drop).map_err(|error| Problem::new(Kind::Failed, format!("a thread cannot be started: {error}")))
}

/// Where rows come from.
enum Source {
    Query(Box<LiveQuery>),
    /// They are all there; a text stands in one column, `is_text` then.
    Answer {
        batch: Option<Box<Batch>>,
        is_text: bool,
        note: Option<String>,
    },
}

impl Source {
    fn answer(outcome: tidemill_sql::session::Outcome) -> Result<Self, Problem> {
        use tidemill_sql::session::Outcome;
        let of =
            |batch: tidemill_engine::Result<RecordBatch>| batch.map(|rows| Box::new(Batch::new(rows))).map_err(failed);
        Ok(match outcome {
            Outcome::Done { note } => Self::Answer { batch: None, is_text: false, note },
            Outcome::Rows(rows) => Self::Answer { batch: Some(of(rows_of(&rows))?), is_text: false, note: None },
            Outcome::Text(text) => {
                let batch = of(text_rows(&["text".to_string()], &[vec![text]]))?;
                Self::Answer { batch: Some(batch), is_text: true, note: None }
            }
        })
    }

    fn is_changelog(&self) -> bool {
        matches!(self, Self::Query(query) if !query.appends())
    }

    /// What is known before the first row.
    fn head(&self, entry: &Entry, mode: &str) -> Value {
        match self {
            Self::Query(query) => json!({
                "query": entry.id,
                "columns": columns(query.schema()),
                "mode": mode,
                "changelog": !query.appends(),
                "bounded": query.is_bounded(),
                "sorted_by_client": query.is_sorted_by_reader(),
                "order": order(query.order()),
                "warnings": query.warnings(),
            }),
            Self::Answer { batch, is_text, note } => json!({
                "query": entry.id,
                "columns": batch.as_ref().map_or_else(|| json!([]), |batch| columns(&batch.schema())),
                "mode": mode,
                "changelog": false,
                "bounded": true,
                "text": is_text,
                "warnings": note.iter().collect::<Vec<_>>(),
            }),
        }
    }
}

fn failed(error: EngineError) -> Problem {
    Problem::from(Refusal::from(error))
}

/// How reading came to its end.
enum End {
    Input(Option<Box<JobSummary>>),
    Asked(Reason),
    Failed(Problem),
}

impl From<Reason> for End {
    fn from(reason: Reason) -> Self {
        Self::Asked(reason)
    }
}

impl From<EngineError> for End {
    fn from(error: EngineError) -> Self {
        Self::Failed(failed(error))
    }
}

struct Run {
    app: Arc<App>,
    place: Place,
    request: QueryRequest,
    /// That were given to the client.
    rows: u64,
    runtime: Handle,
}

impl Run {
    fn queries(&self) -> &Queries {
        &self.app.queries
    }

    /// Gives rows as they come.
    fn stream(&mut self, source: Source, outlet: Outlet) {
        let end = match self.begin(&source, &outlet) {
            Err(end) => end,
            Ok(()) => match &source {
                Source::Query(query) if self.request.folded => self.stream_table(query, &outlet),
                Source::Query(query) => self.stream_rows(query, &outlet),
                Source::Answer { batch, .. } => self.stream_answer(batch.as_deref(), &outlet),
            },
        };
        if let Source::Query(query) = &source {
            let read = ProgressMeter::new(false).of(&query.status()).rows_read;
            self.place.entry.rows_read.store(read, Ordering::Relaxed);
            query.cancel();
        }
        match end {
            End::Input(summary) => outlet.finish("end", &self.end("finished", summary.as_deref()).to_string()),
            End::Asked(Reason::ClientGone) => {}
            End::Asked(Reason::ClientStalled) => {
                let patience = self.queries().limits.stall_timeout;
                let detail = format!("the client took nothing for {patience:?}: the query was ended");
                outlet.finish_stalled("error", &Problem::new(Kind::TookTooLong, detail).json().to_string());
            }
            End::Asked(reason) => outlet.finish("end", &self.end(reason.name(), None).to_string()),
            End::Failed(problem) => outlet.finish("error", &problem.json().to_string()),
        }
    }

    fn begin(&self, source: &Source, outlet: &Outlet) -> Result<(), End> {
        let mut head = source.head(&self.place.entry, self.request.mode());
        if let (Form::Arrow, Source::Query(query)) = (self.request.form, source) {
            head["arrow"] = json!(message::arrow_schema(query.schema())?);
        }
        Ok(outlet.send("schema", &head.to_string(), &self.place.entry.stop)?)
    }

    fn end(&self, reason: &str, summary: Option<&JobSummary>) -> Value {
        let entry = &self.place.entry;
        json!({
            "reason": reason,
            "rows": self.rows,
            "rows_read": entry.rows_read.load(Ordering::Relaxed),
            "uptime_ms": entry.uptime().as_millis() as u64,
            "losses": summary.map(|summary| losses(&summary.nodes)).unwrap_or_default(),
        })
    }

    fn stream_answer(&mut self, batch: Option<&Batch>, outlet: &Outlet) -> End {
        match batch.map_or(Ok(()), |batch| self.give(batch, false, outlet)) {
            Ok(()) => End::Input(None),
            Err(end) => end,
        }
    }

    fn stream_rows(&mut self, query: &LiveQuery, outlet: &Outlet) -> End {
        let changes = !query.appends();
        let given = self.read(query, STATUS_INTERVAL, |run, step| match step {
            Step::Rows(batch) => run.give(batch, changes, outlet),
            Step::Status(status) => Ok(outlet.send("status", &status.to_string(), &run.place.entry.stop)?),
            Step::Tick => Ok(()),
        });
        given.unwrap_or_else(|end| end)
    }

    /// The messages of a batch, up to the rows that were asked for.
    fn give(&mut self, batch: &Batch, changes: bool, outlet: &Outlet) -> Result<(), End> {
        let left = self.request.rows_max.map_or(u64::MAX, |max| max - self.rows);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(batch.num_rows());
        let batch = &batch.slice(0, wanted);
        for message in rows_messages(batch, self.request.form, changes)? {
            self.rows += message.rows;
            self.place.entry.rows.store(self.rows, Ordering::Relaxed);
            outlet.send("rows", &message.text, &self.place.entry.stop)?;
        }
        if self.request.rows_max == Some(self.rows) { Err(Reason::RowsMax.into()) } else { Ok(()) }
    }

    /// Sends the table whenever it has changed, but not more often than somebody could look at it.
    fn stream_table(&mut self, query: &LiveQuery, outlet: &Outlet) -> End {
        let mut view = match self.view(query) {
            Ok(view) => view,
            Err(error) => return error.into(),
        };
        let mut is_new = true;
        let read = self.read(query, TABLE_INTERVAL, |run, step| match step {
            Step::Rows(batch) => {
                is_new = true;
                Ok(view.apply(batch)?)
            }
            Step::Status(status) => Ok(outlet.send("status", &status.to_string(), &run.place.entry.stop)?),
            Step::Tick if std::mem::take(&mut is_new) => run.give_table(&view, outlet),
            Step::Tick => Ok(()),
        });
        match read {
            Ok(end) => self.give_table(&view, outlet).map_or_else(|other| other, |()| end),
            Err(end) => end,
        }
    }

    fn give_table(&mut self, view: &FoldedView, outlet: &Outlet) -> Result<(), End> {
        self.rows = view.len() as u64 + view.beyond();
        self.place.entry.rows.store(self.rows, Ordering::Relaxed);
        let text = table_message(&view.rows(0, view.len())?, self.request.form, self.rows)?;
        Ok(outlet.send("table", &text, &self.place.entry.stop)?)
    }

    fn view(&self, query: &LiveQuery) -> Result<FoldedView, EngineError> {
        let asked = self.request.rows_max.map_or(FOLDED_ROWS_MAX, |rows| rows.min(FOLDED_ROWS_MAX as u64) as usize);
        let bytes_max = usize::try_from(self.queries().limits.memory_bytes_max).unwrap_or(usize::MAX);
        FoldedView::new(query.schema().clone(), query.order(), asked).map(|view| view.with_bytes_max(bytes_max))
    }

    /// Reads to the end of the query, or until it is asked to end.
    fn read(
        &mut self,
        query: &LiveQuery,
        tick: Duration,
        mut take: impl FnMut(&mut Self, Step<'_>) -> Result<(), End>,
    ) -> Result<End, End> {
        let mut meter = ProgressMeter::new(query.is_bounded());
        let (mut told, mut ticked) = (Instant::now(), Instant::now());
        loop {
            let patience = tick.saturating_sub(ticked.elapsed());
            match query.next_or_woken(patience, self.place.entry.stop.woken()) {
                Event::Rows(batch) => take(self, Step::Rows(&batch))?,
                Event::Quiet => {}
                Event::Ended(outcome) if self.place.entry.stop.asked().is_none() => {
                    return Ok(End::Input(Some(Box::new(outcome?))));
                }
                Event::Ended(_) => {}
            }
            if let Some(reason) = self.place.entry.stop.asked() {
                return Err(reason.into());
            }
            if ticked.elapsed() >= tick {
                ticked = Instant::now();
                take(self, Step::Tick)?;
            }
            if told.elapsed() >= STATUS_INTERVAL {
                told = Instant::now();
                let progress = meter.of(&query.status());
                self.place.entry.rows_read.store(progress.rows_read, Ordering::Relaxed);
                take(self, Step::Status(message::status(&progress, self.rows)))?;
            }
        }
    }

    /// Reads everything, and gives the first page.
    fn whole(&mut self, source: Source) -> Result<Page, Problem> {
        let changes = source.is_changelog() && !self.request.folded;
        let mut rows = Rows::default();
        let (end, truncated) = match &source {
            Source::Query(query) => self.gather(query, changes, &mut rows)?,
            Source::Answer { batch, .. } => {
                batch.iter().try_for_each(|batch| rows.add(batch, false)).map_err(failed)?;
                (self.end("finished", None), false)
            }
        };
        let mut head = source.head(&self.place.entry, self.request.mode());
        head["state"] = json!("finished");
        head["row_count"] = json!(rows.len());
        head["truncated"] = json!(truncated);
        head["losses"] = end["losses"].clone();
        let limits = &self.queries().limits;
        let entry = &self.place.entry;
        let kept = Kept::new(entry.owner.clone(), rows, self.request.page_rows, head, limits.results_time);
        let page = kept.page(None).ok_or_else(|| Problem::new(Kind::Failed, "a result has no first page"))?;
        if !page.is_last {
            self.queries().keep(&entry.id, kept);
            let (queries, time) = (Arc::clone(&self.app.queries), limits.results_time);
            self.runtime.spawn(async move {
                tokio::time::sleep(time).await;
                queries.forget_old();
            });
        }
        Ok(page)
    }

    /// How it ended, and whether rows were left out.
    fn gather(&mut self, query: &LiveQuery, changes: bool, rows: &mut Rows) -> Result<(Value, bool), Problem> {
        let mut view = match query.appends() || !self.request.folded {
            true => None,
            false => Some(self.view(query).map_err(failed)?),
        };
        let deadline = Instant::now() + self.queries().limits.timeout;
        let bytes_max = self.queries().limits.results_bytes_max;
        let read = self.read(query, TABLE_INTERVAL, |run, step| {
            if Instant::now() > deadline {
                return Err(Reason::TookTooLong.into());
            }
            match (step, &mut view) {
                (Step::Rows(batch), Some(view)) => Ok(view.apply(batch)?),
                (Step::Rows(batch), None) => run.collect(batch, changes, rows, bytes_max),
                _ => Ok(()),
            }
        });
        query.cancel();
        let (reason, summary) = match read.unwrap_or_else(|end| end) {
            End::Input(summary) => ("finished", summary),
            End::Asked(Reason::RowsMax) => ("rows-max", None),
            End::Asked(reason) => return Err(self.not_whole(reason)),
            End::Failed(problem) => return Err(problem),
        };
        let mut beyond = reason == "rows-max";
        if let Some(view) = &view {
            for begin in (0..view.len()).step_by(message::MESSAGE_ROWS_MAX) {
                let batch = Batch::new(view.rows(begin, message::MESSAGE_ROWS_MAX).map_err(failed)?);
                rows.add(&batch, false).map_err(failed)?;
                self.check_bytes(rows, bytes_max)?;
            }
            beyond |= view.beyond() > 0;
        }
        Ok((self.end(reason, summary.as_deref()), beyond))
    }

    fn collect(&mut self, batch: &Batch, changes: bool, rows: &mut Rows, bytes_max: usize) -> Result<(), End> {
        let left = self.request.rows_max.map_or(u64::MAX, |max| max - self.rows);
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(batch.num_rows());
        rows.add(&batch.slice(0, wanted), changes)?;
        self.rows = rows.len() as u64;
        self.place.entry.rows.store(self.rows, Ordering::Relaxed);
        self.check_bytes(rows, bytes_max).map_err(End::Failed)?;
        if self.request.rows_max == Some(self.rows) { Err(Reason::RowsMax.into()) } else { Ok(()) }
    }

    fn check_bytes(&self, rows: &Rows, bytes_max: usize) -> Result<(), Problem> {
        if rows.bytes() <= bytes_max {
            return Ok(());
        }
        Err(Problem::new(
            Kind::Limit,
            format!("the result is larger than the {bytes_max} bytes that are kept of results"),
        )
        .with_hint("ask for a stream, or for fewer rows with rows_max"))
    }

    fn not_whole(&self, reason: Reason) -> Problem {
        match reason {
            Reason::TookTooLong => {
                let patience = self.queries().limits.timeout;
                Problem::new(Kind::TookTooLong, format!("the query took longer than {patience:?} and was ended"))
                    .with_hint("ask for a stream: text/event-stream or application/x-ndjson")
            }
            Reason::ServerEnding => Problem::new(Kind::Overloaded, "the server is about to end"),
            _ => Problem::new(Kind::NotNow, "the query was cancelled"),
        }
    }
}

/// What reading a query brings.
enum Step<'a> {
    Rows(&'a Batch),
    /// Each second.
    Status(Value),
    /// Each time that a table may be sent.
    Tick,
}
