//! Joins of sides that rows are only added to: what they give, and that they do not read what they add to.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tests::*;
use crate::batch::RowKind::{self, Insert};
use crate::operators::testing::World;

const BOTH: Case = Case { kind: Kind::Inner, only_adds: [true; 2], ..PLAIN };

fn added(key: i64, values: std::ops::Range<i64>) -> Vec<(RowKind, Row)> {
    values.map(|value| (Insert, (Some(key), value, TEXTS[1]))).collect()
}

#[test]
fn sides_that_only_add_agree_with_the_twin() {
    for kind in KINDS {
        for seed in 0..48 {
            let only_adds = [[true, true], [true, false], [false, true]][seed as usize / 4 % 3];
            let unique = [Unique::Nothing, Unique::Key][seed as usize / 12 % 2];
            let (conditioned, keyed, null_fits_null) = (seed % 5 == 0, seed % 7 != 0, seed % 9 == 0);
            check_random(Case { kind, unique, only_adds, conditioned, keyed, null_fits_null }, seed);
        }
    }
}

/// Instances that number their rows on their own come together, and go apart again.
#[test]
fn equal_rows_of_a_key_stay_apart_through_every_change_of_parallelism() {
    for budget in [usize::MAX, 1] {
        let plan = BOTH.plan(None);
        let mut world = world(&plan, budget, 1);
        let rows: Vec<_> = (0..20).map(|key| (Insert, (Some(key), 1, "equal"))).collect();
        for (round, parallelism) in [3, 2, 1, 4, 1].into_iter().enumerate() {
            world.batch_to(0, &batch_of(&rows[round..]));
            world.batch_to(0, &batch_of(&rows[round..]));
            world.restart(parallelism);
        }
        let of_key = |key: usize| 2 * (0..5).filter(|round| *round <= key).count();
        assert_eq!(stored_rows(&world), (0..20).map(of_key).sum::<usize>(), "budget {budget}");
        for key in [0, 3, 19] {
            world.take_output();
            world.batch_to(1, &batch_of(&rows[key..=key]));
            assert_eq!(text_of(&mut world).len(), of_key(key), "budget {budget}, key {key}");
        }
    }
}

#[test]
fn rows_are_added_to_a_side_without_reading_it() {
    const BUDGET_BYTES: usize = 100_000;
    let plan = BOTH.plan(None);
    let mut world = world(&plan, BUDGET_BYTES, 1);
    // Each side is asked for so much that its rows are worth their memory.
    world.batch_to(0, &batch_of(&added(99, 0..3)));
    world.batch_to(1, &batch_of(&added(3, 0..2)));
    (100..180).for_each(|key| world.batch_to(1, &batch_of(&added(key, 0..1))));
    for round in 0..100 {
        world.batch_to(0, &batch_of(&added(round % 10, round..round + 20)));
        assert!(world.cache_bytes() <= BUDGET_BYTES, "{} bytes", world.cache_bytes());
        assert_eq!(world.state_reads(), 8 * 2, "the groups that were searched at the start, {round}");
    }
    assert!(world.spilled_total() > 0, "rows went out of memory");
    assert_eq!(text_of(&mut world).len(), 10 * 20 * 2);
    world.batch_to(1, &batch_of(&added(4, 0..1)));
    assert_eq!(text_of(&mut world).len(), 10 * 20, "what went out of memory is found");
    world.barrier();
    assert_eq!(stored_rows(&world), 2086);
}

#[test]
fn rows_that_hardly_any_other_asks_for_take_a_small_part_of_the_memory() {
    const BUDGET_BYTES: usize = 400_000;
    let plan = BOTH.plan(None);
    let mut world = world(&plan, BUDGET_BYTES, 1);
    (0..100).for_each(|round| world.batch_to(0, &batch_of(&added(round, round..round + 20))));
    world.barrier();
    world.batch_to(0, &batch_of(&added(100, 0..1)));
    assert!(world.cache_bytes() <= BUDGET_BYTES / 4, "{} bytes", world.cache_bytes());
    assert_eq!(world.spilled_total(), 0, "nothing had to leave");
    for key in [0, 99] {
        world.batch_to(1, &batch_of(&added(key, 0..1)));
        assert_eq!(text_of(&mut world).len(), 20, "rows of key {key}, in memory or in state, are found");
        world.batch_to(0, &batch_of(&added(key, 200..201)));
        assert_eq!(text_of(&mut world).len(), 1, "a row of key {key} finds the other");
    }
    world.barrier();
    assert_eq!(stored_rows(&world), 2005);
}

#[test]
fn added_rows_are_written_before_a_barrier_asks_for_it_but_not_while_files_are_frozen() {
    for budget in [usize::MAX, 1] {
        let plan = BOTH.plan(None);
        let mut world = world(&plan, budget, 1);
        world.barrier();
        world.batch_to(0, &batch_of(&added(1, 0..30)));
        // Without a budget all rows go to state at once: they may not wait for long.
        assert_eq!(world.state_writes() == 0, budget > 1, "budget {budget}");
        (30..160).for_each(|value| world.batch_to(0, &batch_of(&added(1, value..value + 1))));
        let written = stored_rows(&world);
        assert!((140..=160).contains(&written), "budget {budget}: {written} of 160 rows are written");
        world.barrier();
        assert_eq!((stored_rows(&world), world.state_writes()), (160, world.state_entries()), "budget {budget}");
        assert!(world.state_entries() < 150, "budget {budget}: rows share {} entries", world.state_entries());
    }
}

#[test]
fn rows_on_their_way_to_state_are_met_without_writing_them() {
    const BUDGET_BYTES: usize = 40_000;
    let plan = BOTH.plan(None);
    let mut world = world(&plan, BUDGET_BYTES, 1);
    // It is asked for so much that its rows are worth their memory.
    world.batch_to(1, &batch_of(&added(99, 0..80)));
    (0..100).for_each(|round| world.batch_to(0, &batch_of(&added(round % 10, round..round + 20))));
    assert!(world.spilled_total() > 0, "memory does not have all keys any more");
    world.barrier();
    let written = world.state_writes();
    // Too few to be worth a write.
    world.batch_to(0, &batch_of(&added(50, 0..2)));
    world.batch_to(1, &batch_of(&added(50, 0..3)));
    assert_eq!((text_of(&mut world).len(), world.state_writes()), (2 * 3, written));
    world.restart(2);
    world.batch_to(1, &batch_of(&added(50, 3..4)));
    assert_eq!(text_of(&mut world).len(), 2, "state has them once");
}

#[test]
fn a_key_with_very_many_added_rows_is_joined_page_by_page() {
    const BUDGET_BYTES: usize = 64 << 10;
    for (number, kind) in KINDS.into_iter().enumerate() {
        let only_adds = [[true, true], [true, false]][number % 2];
        let case = Case { kind, only_adds, conditioned: number % 3 == 0, ..PLAIN };
        let plan = case.plan(None);
        let mut world = world(&plan, BUDGET_BYTES, 1);
        let (mut tables, mut joined) = ([Vec::new(), Vec::new()], BTreeMap::new());
        let mut change = |world: &mut World, side: usize, rows: &[(RowKind, Row)]| {
            world.batch_to(side, &batch_of(rows));
            assert!(world.cache_bytes() <= BUDGET_BYTES, "{case:?}: {} bytes", world.cache_bytes());
            tables[side].extend(rows.iter().map(|row| row.1));
            fold(&mut joined, world);
            assert_eq!(listed(&joined), case.twin(&tables), "{case:?}");
        };
        for from in [0, 500, 1000] {
            change(&mut world, 0, &added(1, from..from + 500));
            change(&mut world, 1, &added(1, from + 100..from + 102));
            change(&mut world, 0, &added(2, from..from + 3));
            world.restart(1 + from as usize / 500);
        }
    }
}

/// A row that fits one row fits it for ever: that it fits more is no news.
#[test]
fn further_matches_of_added_rows_write_nothing() {
    let case = Case { kind: Kind::Left, only_adds: [false, true], ..PLAIN };
    let plan = case.plan(None);
    let mut world = world(&plan, usize::MAX, 1);
    world.batch_to(0, &batch_of(&added(1, 0..300)));
    world.batch_to(1, &batch_of(&added(1, 0..1)));
    world.barrier();
    let before = world.state_writes();
    world.batch_to(1, &batch_of(&added(1, 1..2)));
    world.barrier();
    assert_eq!(world.state_writes(), before + 1, "the row itself");
    let rows = text_of(&mut world);
    assert_eq!(rows.iter().filter(|row| row.starts_with("-D")).count(), 300);
    assert_eq!(rows.iter().filter(|row| row.starts_with("+I")).count(), 300 * 3);
}

/// Rows of one side with the time at which each came.
type Timed = Vec<(Row, i64)>;

#[test]
fn added_rows_are_joined_until_their_time_to_live_is_over() {
    const TTL_MS: i64 = 100;
    for seed in 0..40 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let case = Case { conditioned: seed % 3 == 0, ..BOTH };
        let plan = case.plan(Some(TTL_MS));
        let budget = [usize::MAX, 1, 3000, 30_000][seed as usize % 4];
        let mut world = world(&plan, budget, 1);
        let mut sides: [Timed; 2] = Default::default();
        for step in 0..60 {
            world.now += rng.random_range(0..20);
            let side = rng.random_range(0..2);
            let mut table = Vec::new();
            let count = rng.random_range(1..8);
            let changes = random_changes(&mut rng, &mut table, true, count);
            let now = world.now;
            let is_there = |at: &i64| now < at + TTL_MS;
            let others = sides[1 - side].iter().filter(|(_, at)| is_there(at)).map(|(row, _)| *row).collect();
            let tables = if side == 0 { [table.clone(), others] } else { [others, table.clone()] };
            world.batch_to(side, &batch_of(&changes));
            let mut given = BTreeMap::new();
            fold(&mut given, &mut world);
            assert_eq!(listed(&given), case.twin(&tables), "seed {seed}, step {step}");
            sides[side].extend(table.into_iter().map(|row| (row, now)));
            match rng.random_range(0..6) {
                0 => world.barrier(),
                1 => world.restart(rng.random_range(1..4)),
                2 => world.time(now),
                _ => {}
            }
        }
        world.barrier();
        let end = world.now + TTL_MS;
        (0..20).for_each(|step| world.time(end + 10 * step));
        world.barrier();
        assert_eq!(world.state_entries(), 0, "seed {seed}");
    }
}
