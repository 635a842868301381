//! How fast parts of the engine are, each beside a bound that it cannot beat: `benches/micro/run.sh` makes a table of it.
//!
//! In each group `tidemill` is the engine's own code; every other function is a bound for the same input.

mod exchange;
mod hashing;
mod input;
mod slice_merge;
mod write_back;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// As in the program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn criterion() -> Criterion {
    let (warm_up, measured) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().warm_up_time(warm_up).measurement_time(measured).sample_size(20)
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = hashing::hashing, slice_merge::slice_merge, write_back::write_back, exchange::exchange
}
criterion_main!(benches);
