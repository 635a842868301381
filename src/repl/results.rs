//! A query's rows, written one after another: into a pipe, a file, or in a format that programs read.
//!
//! Rows that only append are written as they come. A result that changes is written once, when its input has ended; where
//! it never ends, its changes are written, each with its kind.

use std::time::Duration;

use arrow::datatypes::SchemaRef;
use tidemill_engine::Batch;

use super::format::{Sheet, with_kind_column, with_kinds};
use super::output::say;
use super::running::{Heard, Running};
use super::shell::{Failure, Shell};
use crate::query::FoldedView;

/// Rows that wait for a table's widths are written when nothing came for so long.
const QUIET: Duration = Duration::from_millis(50);
/// Rows of a finished table that are written at a time.
const ROWS_AT_ONCE: usize = 8_192;

/// Said under a table that was cut to the terminal.
pub const CUT_HINT: &str = "the table is wider than the screen: \\x shows a line for each column";

/// Writes the result of a query to its end.
pub fn write(shell: &mut Shell, query: &mut dyn Running) -> Result<(), Failure> {
    if query.appends() {
        let schema = query.schema().clone();
        write_as_they_come(shell, query, &schema, |batch| Ok(batch.rows().clone()))
    } else if query.is_bounded() {
        write_folded(shell, query)
    } else {
        let schema = with_kind_column(query.schema());
        write_as_they_come(shell, query, &schema, |batch| with_kinds(batch, &schema))
    }
}

fn write_as_they_come(
    shell: &mut Shell,
    query: &mut dyn Running,
    schema: &SchemaRef,
    rows: impl Fn(&Batch) -> tidemill_engine::Result<arrow::array::RecordBatch>,
) -> Result<(), Failure> {
    let mut sheet = Sheet::new(schema.clone(), shell.style())?;
    loop {
        let text = match query.next(QUIET) {
            Heard::Rows(batch) => sheet.add(&rows(&batch)?)?,
            Heard::Quiet => sheet.settle()?,
            Heard::Ended(Ok(losses)) => {
                shell.output.write(&sheet.finish()?)?;
                losses.iter().for_each(|line| say(line));
                return Ok(());
            }
            Heard::Ended(Err(failure)) => {
                shell.output.write(&sheet.settle()?)?;
                return Err(failure);
            }
        };
        if !text.is_empty() {
            shell.output.write(&text)?;
        }
        if shell.signals.take_interrupt() {
            shell.output.write(&sheet.finish()?)?;
            return Err(Failure::Interrupted);
        }
    }
}

fn write_folded(shell: &mut Shell, query: &mut dyn Running) -> Result<(), Failure> {
    let mut view = FoldedView::new(query.schema().clone(), query.order(), shell.options.rows_max)?;
    loop {
        match query.next(QUIET) {
            Heard::Rows(batch) => view.apply(&batch)?,
            Heard::Quiet => {}
            Heard::Ended(outcome) => {
                let losses = outcome?;
                write_view(shell, &view, query.schema())?;
                losses.iter().for_each(|line| say(line));
                return all_were_kept(&view);
            }
        }
        if shell.signals.take_interrupt() {
            return Err(Failure::Interrupted);
        }
    }
}

/// Writes what a table holds now.
fn write_view(shell: &mut Shell, view: &FoldedView, schema: &SchemaRef) -> Result<(), Failure> {
    let mut sheet = Sheet::new(schema.clone(), shell.style())?;
    for offset in (0..view.len()).step_by(ROWS_AT_ONCE) {
        let text = sheet.add(&view.rows(offset, ROWS_AT_ONCE)?)?;
        shell.output.write(&text)?;
    }
    shell.output.write(&sheet.finish()?)
}

/// A result that is not whole must not be taken for one that is.
fn all_were_kept(view: &FoldedView) -> Result<(), Failure> {
    match view.beyond() {
        0 => Ok(()),
        beyond => Err(Failure::Job(format!(
            "error: {beyond} more rows are not written: a result that changes is kept up to its end, and only {} rows are \
             (\\set rows_max keeps more)",
            view.len()
        ))),
    }
}
