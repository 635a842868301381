//! What becomes of late rows: they are counted and leave by the side port.

use arrow::array::UInt32Array;

use crate::operator::{Collector, OperatorContext, SIDE_PORT};
use crate::{Batch, Result};

/// Sends the late rows of a batch, given by their numbers, whole to the side port, and counts them.
pub fn emit_late(batch: &Batch, late: &[u32], ctx: &OperatorContext, out: &mut dyn Collector) -> Result<()> {
    if late.is_empty() {
        return Ok(());
    }
    ctx.metrics.late.add(late.len());
    out.emit(SIDE_PORT, batch.take(&UInt32Array::from(late.to_vec()))?)
}
