//! What happens to a row on which an expression fails: the job fails naming the row, or the row is left out.

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::metrics::NodeMetrics;
use crate::{Batch, EngineError, Result};

/// Values longer than this are cut in error texts, so that one huge row cannot fill a log. In characters.
const VALUE_CHARS_MAX: usize = 64;
/// Columns shown of a failing row.
const COLUMNS_SHOWN_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowErrorPolicy {
    /// The job fails with [`EngineError::BadRow`].
    #[default]
    Fail,
    /// Failing rows, and only they, are counted in `metrics.errors` and left out.
    Skip,
}

/// Runs `work` over a batch under a policy, and gives its results in row order: one where nothing failed, none or
/// several where rows were left out. Costs nothing extra while no row fails; then the batch is bisected.
pub fn per_row<T>(
    policy: RowErrorPolicy,
    operator: &str,
    batch: &Batch,
    metrics: &NodeMetrics,
    work: &mut dyn FnMut(&Batch) -> Result<T>,
) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(1);
    bisect(policy, operator, batch, metrics, work, &mut results)?;
    Ok(results)
}

fn bisect<T>(
    policy: RowErrorPolicy,
    operator: &str,
    batch: &Batch,
    metrics: &NodeMetrics,
    work: &mut dyn FnMut(&Batch) -> Result<T>,
    results: &mut Vec<T>,
) -> Result<()> {
    let error = match work(batch) {
        Ok(result) => {
            results.push(result);
            return Ok(());
        }
        Err(error) if !is_about_rows(&error) => return Err(error),
        Err(error) => error,
    };
    match (batch.num_rows(), policy) {
        (0, _) => Err(error),
        (1, RowErrorPolicy::Skip) => {
            metrics.errors.add(1);
            Ok(())
        }
        (1, RowErrorPolicy::Fail) => Err(bad_row(operator, &error, batch.rows())),
        (rows, _) => {
            let half = rows / 2;
            bisect(policy, operator, &batch.slice(0, half), metrics, work, results)?;
            bisect(policy, operator, &batch.slice(half, rows - half), metrics, work, results)
        }
    }
}

/// Only failed computations depend on the row; a lost file or a bug must not be mistaken for a bad row.
fn is_about_rows(error: &EngineError) -> bool {
    matches!(error, EngineError::Compute(_) | EngineError::BadRow { .. })
}

fn bad_row(operator: &str, error: &EngineError, row: &RecordBatch) -> EngineError {
    if let EngineError::BadRow { reason, row: shown, hint, .. } = error {
        let shown = if shown.is_empty() { show_row(row, 0) } else { shown.clone() };
        let (operator, reason, hint) = (operator.to_string(), reason.clone(), hint.clone());
        return EngineError::BadRow { operator, reason, row: shown, hint };
    }
    EngineError::BadRow {
        operator: operator.to_string(),
        reason: error.to_string(),
        row: show_row(row, 0),
        hint: "use TRY_CAST, which gives NULL, or leave such rows out in a WHERE clause".into(),
    }
}

/// A row as error texts show it: `{id=7, price='abc'}`.
pub fn show_row(rows: &RecordBatch, row: usize) -> String {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).take(COLUMNS_SHOWN_MAX);
    let mut shown: Vec<String> = columns
        .map(|(field, column)| {
            let options = FormatOptions::default().with_null("NULL");
            let value = ArrayFormatter::try_new(column.as_ref(), &options)
                .map(|formatter| formatter.value(row).to_string())
                .unwrap_or_else(|error| format!("<{error}>"));
            format!("{}={}", field.name(), shorten(&value))
        })
        .collect();
    if rows.num_columns() > COLUMNS_SHOWN_MAX {
        shown.push("...".into());
    }
    format!("{{{}}}", shown.join(", "))
}

fn shorten(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((cut, _)) => format!("{}...", &value[..cut]),
        None => value.to_string(),
    }
}
