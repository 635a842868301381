//! The contract of an operator: a synchronous state machine that owns no thread, no clock and no file.
//!
//! All of the world comes in through [`OperatorContext`]; all rows go out through a [`Collector`]. So an operator
//! can be driven by the threaded runtime or, unchanged, by a test that owns every interleaving.

use std::sync::Arc;

use crate::keys::KeyGroupRange;
use crate::lookup::{Answered, Lookup, Question};
use crate::metrics::NodeMetrics;
use crate::state::{KeyShape, KeyedState};
use crate::time::{EventTime, ProcessingTime};
use crate::{Batch, Epoch, Result};

/// Where an operator's rows go. Port 0 is the main output; other ports are side outputs (late rows, errors).
pub trait Collector {
    fn emit(&mut self, port: usize, batch: Batch) -> Result<()>;
}

/// The main output of every node.
pub const MAIN_PORT: usize = 0;
/// Late rows of a windowed operator; rejected records of a source.
pub const SIDE_PORT: usize = 1;
/// Late rows of a join's right input; those of the left one leave by [`SIDE_PORT`].
pub const SIDE_PORT_RIGHT: usize = 2;

/// Which of an operator's parallel instances this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtask {
    pub index: usize,
    pub parallelism: usize,
}

/// All that an operator may know of the world.
pub struct OperatorContext {
    pub subtask: Subtask,
    pub key_groups: KeyGroupRange,
    /// Durable state; what is written here before `on_barrier` returns belongs to the barrier's epoch.
    pub state: Box<dyn KeyedState>,
    /// Wall clock at the start of the current call, in epoch milliseconds.
    pub now: ProcessingTime,
    /// The operator's current watermark (the one being handled, inside `on_watermark`).
    pub watermark: EventTime,
    /// What each input that is read from channels has said, an idle one too: unlike the operator's watermark none of these goes past
    /// a row that an input which was idle gives later. Empty for operators that follow another in its task.
    pub input_watermarks: Vec<EventTime>,
    /// Rows per emitted batch to aim for.
    pub batch_rows: usize,
    /// Memory that this instance may use for its write-back cache, in bytes.
    pub cache_budget_bytes: usize,
    pub metrics: Arc<NodeMetrics>,
}

/// One parallel instance of a node. Calls come from one thread, one at a time.
///
/// After `on_watermark` and `on_barrier` return, the caller forwards the watermark or barrier downstream.
pub trait Operator: Send {
    /// Called once before anything else; reads back what `ctx.state` was restored with.
    fn open(&mut self, _ctx: &mut OperatorContext) -> Result<()> {
        Ok(())
    }

    fn on_batch(
        &mut self,
        input: usize,
        batch: Batch,
        ctx: &mut OperatorContext,
        out: &mut dyn Collector,
    ) -> Result<()>;

    /// Time moved to `watermark`; strictly greater than at the last call.
    fn on_watermark(
        &mut self,
        _watermark: EventTime,
        _ctx: &mut OperatorContext,
        _out: &mut dyn Collector,
    ) -> Result<()> {
        Ok(())
    }

    /// What the operator's readers may be told when its own watermark is `input`: no row at or before that will be emitted.
    fn output_watermark(&self, input: EventTime) -> EventTime {
        input
    }

    /// Writes what changed to `ctx.state`; rows emitted here still belong to `epoch`.
    fn on_barrier(&mut self, _epoch: Epoch, _ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        Ok(())
    }

    /// Does a little of what the next barrier would have to do, about a millisecond's worth, when there is nothing else to do;
    /// false where nothing is left for now.
    fn work_ahead(&mut self, _ctx: &mut OperatorContext) -> Result<bool> {
        Ok(false)
    }

    /// The wall clock moved; called when [`Operator::next_time`] has come.
    fn on_time(&mut self, _ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        Ok(())
    }

    /// When [`Operator::on_time`] has something to do next, though nothing else happens; `None`: never. Asked after every call. A time
    /// that is past, such as [`ProcessingTime::MIN`], means the next tick, and ticks are at least 50 ms apart.
    fn next_time(&self) -> Option<ProcessingTime> {
        None
    }

    /// True once no further row will be emitted, whatever may still come; asked after `open` and after every call.
    fn is_done(&self) -> bool {
        false
    }

    /// The operator as one that asks the outside world; `None` for all others.
    fn stage(&mut self) -> Option<&mut dyn Stage> {
        None
    }

    /// All inputs ended; event-time work is already done (the final watermark came before).
    fn on_end(&mut self, _ctx: &mut OperatorContext, _out: &mut dyn Collector) -> Result<()> {
        Ok(())
    }
}

/// An operator that has rows in flight while the outside world is asked about them. It heads a task of its own.
///
/// It does not wait: it says what to ask, is told the answers, and emits rows when it is called for that. Its
/// [`Operator::output_watermark`] never overtakes a row that it still holds, and at a barrier it writes such rows to state.
pub trait Stage {
    /// What is to be asked now; each question has a number of its own. Fails where an answer is overdue.
    fn questions(&mut self, ctx: &mut OperatorContext) -> Result<Vec<(u64, Question)>>;

    /// Fails where the question cannot be asked again.
    fn on_answer(&mut self, answer: Answered, ctx: &mut OperatorContext) -> Result<()>;

    /// True where [`Stage::emit_answered`] has rows to emit.
    fn has_answered(&self) -> bool;

    /// Emits rows that are answered; not beyond the next watermark that they must not pass.
    fn emit_answered(&mut self, ctx: &mut OperatorContext, out: &mut dyn Collector) -> Result<()>;

    /// False where rows should rather wait in front; fewer rows are refused while a barrier stands behind them.
    fn has_room(&self, barrier_awaited: bool) -> bool;

    /// True where no row is in flight, nor anything else that must be known before the end.
    fn is_drained(&self) -> bool;
}

/// Makes the parallel instances of a node. Holds only what planning decided, so it can be shared and printed.
pub trait OperatorFactory: Send + Sync {
    fn create(&self) -> Result<Box<dyn Operator>>;

    /// Whom its operators ask, if they are [`Stage`]s, and how many threads may ask for one of them.
    fn asks(&self) -> Option<(Arc<dyn Lookup>, usize)> {
        None
    }

    /// How the keys that the operator writes to its state are made up.
    fn key_shape(&self) -> KeyShape {
        KeyShape::Plain
    }
}

/// A collector that keeps what it is given, for tests and for operators run inside other operators.
#[derive(Default)]
pub struct VecCollector {
    pub batches: Vec<(usize, Batch)>,
}

impl Collector for VecCollector {
    fn emit(&mut self, port: usize, batch: Batch) -> Result<()> {
        self.batches.push((port, batch));
        Ok(())
    }
}
