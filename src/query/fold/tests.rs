//! The folded table against a naive twin, and its bounds.

use arrow::array::{AsArray, Int8Array, Int64Array, StringArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

type Change = (RowKind, &'static str, i64);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, true), Field::new("n", DataType::Int64, true)]))
}

fn batch(changes: &[Change]) -> Batch {
    let names = StringArray::from(changes.iter().map(|change| change.1).collect::<Vec<_>>());
    let numbers = Int64Array::from(changes.iter().map(|change| change.2).collect::<Vec<_>>());
    let kinds = Int8Array::from(changes.iter().map(|change| change.0 as i8).collect::<Vec<_>>());
    Batch::with_kinds(RecordBatch::try_new(schema(), vec![Arc::new(names), Arc::new(numbers)]).expect("rows"), kinds)
}

fn shown(view: &FoldedView) -> Vec<(String, i64)> {
    let rows = view.rows(0, usize::MAX).expect("rows");
    let (names, numbers) = (rows.column(0).as_string::<i32>(), rows.column(1).as_primitive::<Int64Type>());
    (0..rows.num_rows()).map(|row| (names.value(row).to_string(), numbers.value(row))).collect()
}

fn by_number_downwards() -> SortedBy {
    SortedBy { column: 1, options: SortOptions { descending: true, nulls_first: false } }
}

use RowKind::{Delete as D, Insert as I, UpdateAfter as U, UpdateBefore as B};

#[test]
fn an_update_stays_in_its_place() {
    let mut view = FoldedView::new(schema(), &[], 100).expect("a view");
    view.apply(&batch(&[(I, "a", 1), (I, "b", 1), (I, "c", 1)])).expect("applied");
    view.apply(&batch(&[(B, "a", 1), (B, "b", 1), (U, "a", 2), (U, "b", 3), (D, "c", 1)])).expect("applied");
    assert_eq!(shown(&view), [("a".to_string(), 2), ("b".to_string(), 3)]);
    assert_eq!((view.len(), view.beyond()), (2, 0));
}

#[test]
fn an_order_is_kept_through_updates() {
    let mut view = FoldedView::new(schema(), &[by_number_downwards()], 100).expect("a view");
    view.apply(&batch(&[(I, "a", 1), (I, "b", 5), (I, "c", 3)])).expect("applied");
    view.apply(&batch(&[(B, "a", 1), (U, "a", 9)])).expect("applied");
    assert_eq!(shown(&view), [("a".to_string(), 9), ("b".to_string(), 5), ("c".to_string(), 3)]);
    let second = view.rows(1, 1).expect("rows");
    assert_eq!(second.column(0).as_string::<i32>().value(0), "b");
}

#[test]
fn what_is_beyond_the_bound_is_counted() {
    let mut view = FoldedView::new(schema(), &[], 2).expect("a view");
    view.apply(&batch(&[(I, "a", 1), (I, "b", 1), (I, "c", 1), (I, "d", 1)])).expect("applied");
    assert_eq!((view.len(), view.beyond()), (2, 2));
    view.apply(&batch(&[(D, "c", 1), (D, "a", 1)])).expect("applied");
    assert_eq!((shown(&view), view.beyond()), (vec![("b".to_string(), 1)], 1));
    let mut first = FoldedView::new(schema(), &[by_number_downwards()], 2).expect("a view");
    first.apply(&batch(&[(I, "a", 1), (I, "b", 2), (I, "c", 3)])).expect("applied");
    assert_eq!((shown(&first), first.beyond()), (vec![("c".to_string(), 3), ("b".to_string(), 2)], 1));
}

/// Random changes, always of rows that are there; the rows of the view are those of a plain list.
#[test]
fn any_changelog_gives_the_rows_that_a_list_has() {
    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
    for seed in 0..50 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut list: Vec<(&'static str, i64)> = Vec::new();
        let mut view = FoldedView::new(schema(), &[by_number_downwards()], 1_000).expect("a view");
        for _ in 0..20 {
            let mut changes: Vec<Change> = Vec::new();
            for _ in 0..rng.random_range(1..10) {
                let row = (NAMES[rng.random_range(0..NAMES.len())], rng.random_range(0..5));
                let found = list.iter().position(|other| *other == row);
                match found.filter(|_| rng.random_bool(0.6)) {
                    Some(at) if rng.random_bool(0.5) => {
                        changes.push((D, row.0, row.1));
                        list.remove(at);
                    }
                    Some(at) => {
                        changes.extend([(B, row.0, row.1), (U, row.0, row.1 + 1)]);
                        list[at] = (row.0, row.1 + 1);
                    }
                    None => {
                        changes.push((I, row.0, row.1));
                        list.push(row);
                    }
                }
            }
            view.apply(&batch(&changes)).expect("applied");
            let mut expected: Vec<(String, i64)> = list.iter().map(|row| (row.0.to_string(), row.1)).collect();
            let mut rows = shown(&view);
            assert!(rows.is_sorted_by_key(|row| -row.1), "seed {seed}: {rows:?}");
            expected.sort();
            rows.sort();
            assert_eq!(rows, expected, "seed {seed}");
        }
    }
}
