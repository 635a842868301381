//! Results of groups while their rows are added one by one, for aggregates that have no way of their own to give them.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::{concat, take};

use super::{Accumulators, RunningRows};
use crate::Result;

/// The first stretches of all slots are added and evaluated together, then the second ones, and so on.
///
/// Where few slots have many stretches, these are small batches: for aggregates whose results take as long as this anyway, as
/// those that list or rank all values do.
pub(super) fn by_rounds<A: Accumulators + ?Sized>(accumulators: &mut A, input: &RunningRows<'_>) -> Result<ArrayRef> {
    let RunningRows { slots, ends, args, keep } = *input;
    let mut results = vec![accumulators.evaluate(&[])?];
    // For each stretch, where its result stands among those of all rounds.
    let mut places = vec![0u32; ends.len()];
    let mut evaluated = 0;
    for round in rounds(slots, ends) {
        let (mut slots_of_rows, mut rows, mut told) = (Vec::new(), Vec::new(), Vec::with_capacity(round.len()));
        for stretch in round {
            let (start, end) = (stretch.checked_sub(1).map_or(0, |before| ends[before]), ends[stretch]);
            let slot = slots[start as usize];
            slots_of_rows.resize(slots_of_rows.len() + (end - start) as usize, slot);
            rows.extend(start..end);
            told.push(slot);
            places[stretch] = evaluated;
            evaluated += 1;
        }
        let rows = UInt32Array::from(rows);
        let args = args.iter().map(|column| take(column, &rows, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        let keep = keep.map(|keep| take(keep, &rows, None)).transpose()?;
        let keep = keep.as_ref().map(|keep| keep.as_any().downcast_ref().expect("rows of a BOOLEAN column"));
        accumulators.update(&slots_of_rows, &args, keep)?;
        results.push(accumulators.evaluate(&told)?);
    }
    let results: Vec<&dyn Array> = results.iter().map(AsRef::as_ref).collect();
    Ok(take(&concat(&results)?, &UInt32Array::from(places), None)?)
}

/// The n-th stretches of all slots, for each n.
fn rounds(slots: &[u32], ends: &[u32]) -> Vec<Vec<usize>> {
    let mut rounds: Vec<Vec<usize>> = Vec::new();
    let (mut number, mut last) = (0, None);
    for (stretch, end) in ends.iter().enumerate() {
        let slot = slots[*end as usize - 1];
        number = if last == Some(slot) { number + 1 } else { 0 };
        last = Some(slot);
        if rounds.len() <= number {
            rounds.push(Vec::new());
        }
        rounds[number].push(stretch);
    }
    rounds
}
