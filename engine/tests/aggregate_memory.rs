//! What aggregates say that they hold, against what the allocator gave them.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field};
use datafusion_common::ScalarValue;
use tidemill_engine::aggregate::{AggregateCall, AggregateSet, resolve};

/// Counts the bytes that are allocated and not yet freed.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system allocator unchanged; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROWS: usize = 40_000;

/// A column of varied values, and the group of each row: a few large groups and many small ones.
fn column(data_type: &DataType) -> ArrayRef {
    let mixed = |row: usize| (row as i64).wrapping_mul(2_654_435_761) % 100_003;
    match data_type {
        DataType::Int64 => Arc::new(Int64Array::from_iter_values((0..ROWS).map(mixed))),
        DataType::Float64 => {
            let wild = |row: usize| 10f64.powi((mixed(row) % 300) as i32) / 3.0;
            Arc::new(Float64Array::from_iter_values((0..ROWS).map(wild)))
        }
        _ => Arc::new(StringArray::from_iter_values((0..ROWS).map(|row| format!("value {}", mixed(row))))),
    }
}

fn groups(count: usize) -> Vec<u32> {
    (0..ROWS).map(|row| if row % 2 == 0 { row % 3 } else { row % count } as u32).collect()
}

#[test]
fn reported_sizes_are_near_the_truth() {
    let calls: &[(&str, DataType, bool)] = &[
        ("count", DataType::Int64, false),
        ("sum", DataType::Float64, false),
        ("stddev_samp", DataType::Float64, false),
        ("min", DataType::Utf8, false),
        ("count", DataType::Int64, true),
        ("count", DataType::Utf8, true),
        ("sum", DataType::Int64, true),
        ("listagg", DataType::Utf8, false),
        ("array_agg", DataType::Utf8, false),
        ("approx_count_distinct", DataType::Int64, false),
        ("median", DataType::Float64, false),
        ("approx_percentile_cont", DataType::Float64, false),
        ("bit_xor", DataType::Int64, false),
    ];
    let mut wrong = Vec::new();
    for (name, data_type, distinct) in calls {
        for group_count in [10, 5000] {
            let (said, held) = measure(name, data_type, *distinct, group_count);
            if !(0.8..=1.2).contains(&(said as f64 / held as f64)) {
                wrong.push(format!("{name} distinct {distinct} in {group_count} groups: {said} of {held}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the set says that it holds, and what it holds.
fn measure(name: &str, data_type: &DataType, distinct: bool, group_count: usize) -> (usize, usize) {
    let literals = if name.contains("percentile") { vec![ScalarValue::from(0.5)] } else { Vec::new() };
    let factory = resolve(name, std::slice::from_ref(data_type), &literals, distinct).unwrap();
    let output = Field::new("result", factory.output_type(), true);
    let call = AggregateCall { display: name.into(), output, factory, args: vec![0], filter: None };
    let batch = RecordBatch::try_from_iter([("x", column(data_type))]).unwrap();
    let slots = groups(group_count);
    let mut set = AggregateSet::new(&[call]).unwrap();
    let before = HELD.load(Ordering::Relaxed);
    set.resize(group_count);
    set.update(&slots, &batch).unwrap();
    let held = HELD.load(Ordering::Relaxed) - before;
    (set.size_bytes(), held)
}
