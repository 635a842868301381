//! Joins against a twin that tries every row of one table with every row of the other; changelogs are folded to compare.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::Operator as Sign;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Batch;
use crate::batch::RowKind;
use crate::operators::testing::{World, rows_as_text};

/// Key, value, text; the text only makes rows wider.
pub(super) type Row = (Option<i64>, i64, &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
    Right,
    Full,
    Semi,
    Anti,
    Mark,
}

pub(super) const KINDS: [Kind; 7] =
    [Kind::Inner, Kind::Left, Kind::Right, Kind::Full, Kind::Semi, Kind::Anti, Kind::Mark];

impl Kind {
    fn alone(self) -> [Option<Alone>; 2] {
        match self {
            Self::Inner => [None, None],
            Self::Left | Self::Anti => [Some(Alone::Unmatched), None],
            Self::Right => [None, Some(Alone::Unmatched)],
            Self::Full => [Some(Alone::Unmatched); 2],
            Self::Semi => [Some(Alone::Matched), None],
            Self::Mark => [Some(Alone::Marked), None],
        }
    }

    fn pairs(self) -> bool {
        !matches!(self, Self::Semi | Self::Anti | Self::Mark)
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) kind: Kind,
    /// Of sides whose rows may go; the random tables keep to none, so that rows meet in buckets.
    pub(super) unique: Unique,
    /// Sides that rows are only added to.
    pub(super) only_adds: [bool; 2],
    pub(super) keyed: bool,
    pub(super) null_fits_null: bool,
    pub(super) conditioned: bool,
}

/// What is said to be unique.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unique {
    Nothing,
    Key,
    KeyAndValue,
}

impl Unique {
    fn row_key(self) -> RowKey {
        match self {
            Self::Nothing => RowKey::WholeRow,
            Self::Key => RowKey::JoinKey,
            Self::KeyAndValue => RowKey::Columns(vec![0, 1]),
        }
    }
}

fn input_schema() -> SchemaRef {
    let field = |name, data_type| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![field("k", DataType::Int64), field("v", DataType::Int64), field("t", DataType::Utf8)]))
}

impl Case {
    pub(super) fn plan(self, ttl_ms: Option<i64>) -> RegularJoin {
        let input = input_schema();
        let keys: Vec<usize> = if self.keyed { vec![0] } else { vec![] };
        let alone = self.kind.alone();
        let side = |side: usize| JoinInput {
            keys: keys.clone(),
            schema: input.clone(),
            row_key: if self.only_adds[side] { RowKey::Arrival } else { self.unique.row_key() },
            alone: alone[side],
            lifetime: None,
        };
        let sides = if self.kind.pairs() { 2 } else { 1 };
        let mut fields: Vec<_> = (0..sides).flat_map(|_| input.fields().iter().cloned()).collect();
        if self.kind == Kind::Mark {
            fields.push(Arc::new(Field::new("mark", DataType::Boolean, false)));
        }
        let column = |index| Arc::new(Column::new("v", index)) as Arc<dyn PhysicalExpr>;
        let less = || Arc::new(BinaryExpr::new(column(1), Sign::LtEq, column(4))) as Arc<dyn PhysicalExpr>;
        RegularJoin {
            null_fits_null: vec![self.null_fits_null; keys.len()],
            inputs: [side(0), side(1)],
            condition: self.conditioned.then(less),
            pairs: self.kind.pairs(),
            ttl_ms,
            on_error: RowErrorPolicy::Fail,
            schema: Arc::new(Schema::new(fields)),
        }
    }

    pub(super) fn fits(self, left: &Row, right: &Row) -> bool {
        let equal = left.0 == right.0 && (left.0.is_some() || self.null_fits_null);
        (!self.keyed || equal) && (!self.conditioned || left.1 <= right.1)
    }

    /// The joined table.
    pub(super) fn twin(self, tables: &[Vec<Row>; 2]) -> Vec<String> {
        let text = |row: &Row| format!("{}|{}|{}", row.0.map_or("NULL".into(), |key| key.to_string()), row.1, row.2);
        let nulls = "NULL|NULL|NULL";
        let [left, right] = tables;
        let mut joined = Vec::new();
        let alone = self.kind.alone();
        for one in left {
            let fitting: Vec<&Row> = right.iter().filter(|other| self.fits(one, other)).collect();
            if self.kind.pairs() {
                joined.extend(fitting.iter().map(|other| format!("{}|{}", text(one), text(other))));
            }
            match self.kind {
                Kind::Left | Kind::Full if fitting.is_empty() => joined.push(format!("{}|{nulls}", text(one))),
                Kind::Semi if !fitting.is_empty() => joined.push(text(one)),
                Kind::Anti if fitting.is_empty() => joined.push(text(one)),
                Kind::Mark => joined.push(format!("{}|{}", text(one), !fitting.is_empty())),
                _ => {}
            }
        }
        for other in right.iter().filter(|_| alone[1].is_some()) {
            if !left.iter().any(|one| self.fits(one, other)) {
                joined.push(format!("{nulls}|{}", text(other)));
            }
        }
        joined.sort();
        joined
    }
}

pub(super) fn batch_of(rows: &[(RowKind, Row)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.1.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1.1)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1.2)).collect::<StringArray>()),
    ];
    let batch = RecordBatch::try_new(input_schema(), columns).unwrap();
    Batch::with_kinds(batch, rows.iter().map(|row| row.0 as i8).collect::<Vec<i8>>().into())
}

pub(super) fn world(plan: &RegularJoin, budget_bytes: usize, parallelism: usize) -> World<'_> {
    let [left, right] = &plan.inputs;
    World::with_inputs(plan, &[(&left.keys, &left.schema), (&right.keys, &right.schema)], budget_bytes, parallelism)
}

/// Adds what was emitted to a table; every retraction must name a row that is there.
pub(super) fn fold(table: &mut BTreeMap<String, i64>, world: &mut World) {
    for (_, batch) in world.take_output() {
        for (row, text) in rows_as_text(batch.rows()).into_iter().enumerate() {
            let kind = batch.kind(row);
            let count = table.entry(text.clone()).or_default();
            *count += if kind.is_retraction() { -1 } else { 1 };
            assert!(*count >= 0, "{} {text} takes back what is not there", kind.symbol());
        }
    }
}

pub(super) fn listed(table: &BTreeMap<String, i64>) -> Vec<String> {
    table.iter().flat_map(|(row, count)| (0..*count).map(move |_| row.clone())).collect()
}

pub(super) const TEXTS: [&str; 2] = ["a", "a text that is longer than a block of the encoding of rows"];

pub(super) fn random_row(rng: &mut ChaCha8Rng) -> Row {
    let key = rng.random_bool(0.85).then(|| rng.random_range(0..4));
    (key, rng.random_range(0..4), TEXTS[rng.random_range(0..10) / 9])
}

/// Changes of a table: new rows, repeated rows and, unless it only adds, rows that go, and rows whose value or key changes.
pub(super) fn random_changes(
    rng: &mut ChaCha8Rng,
    table: &mut Vec<Row>,
    only_adds: bool,
    count: usize,
) -> Vec<(RowKind, Row)> {
    let mut changes = Vec::new();
    for _ in 0..count {
        let new = random_row(rng);
        let old = (!table.is_empty() && !only_adds).then(|| rng.random_range(0..table.len()));
        match (rng.random_range(0..10), old) {
            (0..=2, Some(old)) => changes.push((RowKind::Delete, table.swap_remove(old))),
            (3..=5, Some(old)) => {
                changes.push((RowKind::UpdateBefore, std::mem::replace(&mut table[old], new)));
                changes.push((RowKind::UpdateAfter, new));
            }
            _ => {
                table.push(new);
                changes.push((RowKind::Insert, new));
            }
        }
    }
    changes
}

pub(super) fn check_random(case: Case, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let plan = case.plan(None);
    let budget = [usize::MAX, 1, 3000, 30_000][seed as usize % 4];
    let mut world = world(&plan, budget, 1 + seed as usize % 3);
    let (mut tables, mut joined) = ([Vec::new(), Vec::new()], BTreeMap::new());
    for step in 0..24 {
        let side = rng.random_range(0..2);
        let count = rng.random_range(1..8);
        let changes = random_changes(&mut rng, &mut tables[side], case.only_adds[side], count);
        for part in changes.chunks(rng.random_range(1..9)) {
            world.batch_to(side, &batch_of(part));
        }
        fold(&mut joined, &mut world);
        assert_eq!(listed(&joined), case.twin(&tables), "{case:?}, seed {seed}, step {step}");
        match step % 8 {
            3 => world.barrier(),
            7 => (0..3).for_each(|_| world.restart(rng.random_range(1..5))),
            _ => {}
        }
    }
    for (side, table) in tables.iter_mut().enumerate().filter(|(side, _)| !case.only_adds[*side]) {
        let gone: Vec<_> = table.drain(..).map(|row| (RowKind::Delete, row)).collect();
        world.batch_to(side, &batch_of(&gone));
    }
    fold(&mut joined, &mut world);
    assert_eq!(listed(&joined), case.twin(&tables), "{case:?}, seed {seed}");
    world.barrier();
    let fits_some = |row: &&Row| row.0.is_some() || case.null_fits_null || !case.keyed;
    let left = tables.iter().flatten().filter(fits_some).count();
    assert_eq!(stored_rows(&world), left, "{case:?}: nothing is left of rows that are gone");
}

/// Distinct rows in state, or all of a side that only adds, however many of them share an entry.
pub(super) fn stored_rows(world: &World) -> usize {
    world.state_values().iter().map(|value| entry::rows(value).map(Result::unwrap).count()).sum()
}

#[test]
fn every_join_agrees_with_the_twin_over_random_changelogs() {
    for kind in KINDS {
        for seed in 0..54 {
            let flags = [seed & 1 == 0, seed & 2 == 0, seed % 5 != 0];
            let unique = [Unique::Nothing, Unique::Key, Unique::KeyAndValue][seed as usize / 3 % 3];
            let only_adds = [seed % 7 == 1, seed % 11 == 1];
            let case =
                Case { kind, unique, only_adds, conditioned: flags[0], null_fits_null: flags[1], keyed: flags[2] };
            check_random(case, seed);
        }
    }
}

use RowKind::{Delete, Insert};

pub(super) fn text_of(world: &mut World) -> Vec<String> {
    let line = |batch: &Batch| {
        let rows = rows_as_text(batch.rows());
        rows.into_iter()
            .enumerate()
            .map(|(row, text)| format!("{}|{text}", batch.kind(row).symbol()))
            .collect::<Vec<_>>()
    };
    world.take_output().iter().flat_map(|(_, batch)| line(batch)).collect()
}

pub(super) const PLAIN: Case = Case {
    kind: Kind::Left,
    unique: Unique::Nothing,
    only_adds: [false; 2],
    keyed: true,
    null_fits_null: false,
    conditioned: false,
};

#[test]
fn a_row_stands_alone_until_it_is_matched_and_again_afterwards() {
    let plan = PLAIN.plan(None);
    let mut world = world(&plan, usize::MAX, 1);
    world.batch_to(0, &batch_of(&[(Insert, (Some(1), 1, "l"))]));
    world.batch_to(1, &batch_of(&[(Insert, (Some(1), 1, "r")), (Insert, (Some(1), 2, "r"))]));
    world.batch_to(1, &batch_of(&[(Delete, (Some(1), 1, "r")), (Delete, (Some(1), 2, "r"))]));
    let expected = [
        "+I|1|1|l|NULL|NULL|NULL",
        "-D|1|1|l|NULL|NULL|NULL",
        "+I|1|1|l|1|1|r",
        "+I|1|1|l|1|2|r",
        "-D|1|1|l|1|1|r",
        "-D|1|1|l|1|2|r",
        "+I|1|1|l|NULL|NULL|NULL",
    ];
    assert_eq!(text_of(&mut world), expected);
}

#[test]
fn a_retraction_of_what_never_came_changes_nothing() {
    for kind in KINDS {
        let plan = Case { kind, ..PLAIN }.plan(None);
        let mut world = world(&plan, usize::MAX, 1);
        world.batch_to(1, &batch_of(&[(Insert, (Some(1), 1, "r"))]));
        world.take_output();
        world.batch_to(0, &batch_of(&[(Delete, (Some(1), 1, "l"))]));
        world.batch_to(1, &batch_of(&[(Delete, (Some(1), 9, "r")), (Delete, (Some(7), 1, "r"))]));
        assert_eq!(text_of(&mut world), Vec::<String>::new(), "{kind:?}");
    }
}

#[test]
fn many_pairs_of_one_key_are_made_in_pieces() {
    for conditioned in [false, true] {
        let case = Case { kind: Kind::Full, conditioned, ..PLAIN };
        let plan = case.plan(None);
        let mut world = world(&plan, usize::MAX, 1);
        let rows =
            |value: i64| -> Vec<(RowKind, Row)> { (0..300).map(|n| (Insert, (Some(1), value + n, "x"))).collect() };
        world.batch_to(0, &batch_of(&rows(0)));
        world.batch_to(1, &batch_of(&rows(100)));
        let batches = world.take_output();
        assert!(batches.iter().all(|(_, batch)| batch.num_rows() <= 2 * 16_384 && batch.num_rows() > 0));
        let mut table = BTreeMap::new();
        for (_, batch) in &batches {
            for (row, text) in rows_as_text(batch.rows()).into_iter().enumerate() {
                *table.entry(text).or_insert(0) += if batch.kind(row).is_retraction() { -1 } else { 1 };
            }
        }
        let tables = [rows(0), rows(100)].map(|rows| rows.into_iter().map(|row| row.1).collect());
        assert_eq!(listed(&table), case.twin(&tables));
    }
}

#[test]
fn rows_are_forgotten_after_their_time_to_live() {
    for (budget, search) in [(usize::MAX, false), (usize::MAX, true), (1, false), (1, true)] {
        let plan = Case { kind: Kind::Inner, ..PLAIN }.plan(Some(100));
        let mut world = world(&plan, budget, 1);
        world.batch_to(0, &batch_of(&[(Insert, (Some(1), 1, "old"))]));
        world.now = 60;
        world.batch_to(0, &batch_of(&[(Insert, (Some(1), 2, "new"))]));
        world.restart(2);
        world.now = 120;
        if search {
            (0..20).for_each(|step| world.time(120 + step));
            world.barrier();
            assert_eq!(world.state_entries(), 1, "only the new row is left");
        }
        world.batch_to(1, &batch_of(&[(Insert, (Some(1), 3, "r"))]));
        assert_eq!(text_of(&mut world), ["+I|1|2|new|1|3|r"], "budget {budget}, search {search}");
    }
}

#[test]
fn keys_beyond_the_budget_are_read_back_when_they_are_met() {
    let plan = PLAIN.plan(None);
    let mut world = world(&plan, 20_000, 1);
    let row = |key: i64, text| (Insert, (Some(key), key, text));
    for start in (0..4000).step_by(100) {
        world.batch_to(0, &batch_of(&(start..start + 100).map(|key| row(key, "l")).collect::<Vec<_>>()));
        assert!(world.cache_bytes() <= 40_000, "{} bytes", world.cache_bytes());
    }
    assert!(world.spilled_total() > 3000);
    world.take_output();
    world.batch_to(1, &batch_of(&(0..4000).step_by(7).map(|key| row(key, "r")).collect::<Vec<_>>()));
    let rows = text_of(&mut world);
    assert_eq!(rows.iter().filter(|row| row.starts_with("+I")).count(), 4000_usize.div_ceil(7));
    assert_eq!(rows.iter().filter(|row| row.starts_with("-D")).count(), 4000_usize.div_ceil(7));
}

/// One key whose rows take many times the budget.
#[test]
fn a_key_with_very_many_rows_is_joined_page_by_page() {
    const BUDGET_BYTES: usize = 64 << 10;
    for (number, kind) in KINDS.into_iter().enumerate() {
        let conditioned = number % 2 == 0;
        let unique = [Unique::Nothing, Unique::KeyAndValue][number % 2];
        let case = Case { kind, unique, conditioned, ..PLAIN };
        let plan = case.plan(None);
        let mut world = world(&plan, BUDGET_BYTES, 1);
        let (mut tables, mut joined) = ([Vec::new(), Vec::new()], BTreeMap::new());
        let mut change = |world: &mut World, tables: &mut [Vec<Row>; 2], side: usize, rows: &[(RowKind, Row)]| {
            world.batch_to(side, &batch_of(rows));
            assert!(world.cache_bytes() <= BUDGET_BYTES, "{case:?}: {} bytes", world.cache_bytes());
            fold(&mut joined, world);
            for (kind, row) in rows {
                match kind.is_retraction() {
                    true => drop(tables[side].remove(tables[side].iter().position(|one| one == row).unwrap())),
                    false => tables[side].push(*row),
                }
            }
            assert_eq!(listed(&joined).len(), case.twin(tables).len(), "{case:?}");
        };
        let many = |from: i64, count: i64| -> Vec<(RowKind, Row)> {
            (from..from + count).map(|value| (Insert, (Some(1), value, TEXTS[1]))).collect()
        };
        for part in many(0, 3000).chunks(500) {
            change(&mut world, &mut tables, 0, part);
        }
        assert_eq!(world.spilled_total(), 0, "the key is still in use");
        let some = [(Insert, (Some(1), 2000, "r")), (Insert, (Some(2), 1, "r")), (Insert, (Some(1), 2500, "s"))];
        change(&mut world, &mut tables, 1, &some);
        (0..3).for_each(|restart| world.restart(1 + restart % 2));
        // Rows of the key change on its long side, and rows of other keys beside them.
        let mut changes = many(3000, 10);
        for (_, row) in many(7, 10) {
            changes.extend([(RowKind::UpdateBefore, row), (RowKind::UpdateAfter, (row.0, row.1, "new"))]);
        }
        changes.push((Insert, (Some(2), 0, "l")));
        changes.push((Delete, (Some(1), 2999, TEXTS[1])));
        change(&mut world, &mut tables, 0, &changes);
        change(&mut world, &mut tables, 1, &[(Delete, some[0].1), (RowKind::UpdateBefore, some[2].1)]);
        change(&mut world, &mut tables, 1, &[(RowKind::UpdateAfter, (Some(1), 100, "s"))]);
        assert_eq!(listed(&joined), case.twin(&tables), "{case:?}");
        for side in [1, 0] {
            let gone: Vec<_> = tables[side].drain(..).map(|row| (Delete, row)).collect();
            gone.chunks(1000).for_each(|part| world.batch_to(side, &batch_of(part)));
            fold(&mut joined, &mut world);
        }
        assert_eq!(listed(&joined), Vec::<String>::new(), "{case:?}");
        world.barrier();
        assert_eq!(world.state_entries(), 0, "{case:?}");
    }
}

#[test]
fn inner_and_semi_joins_hand_on_the_kinds_of_updates() {
    let changed = |kind| {
        let plan = Case { kind, ..PLAIN }.plan(None);
        let mut world = world(&plan, usize::MAX, 1);
        world.batch_to(0, &batch_of(&[(Insert, (Some(1), 1, "l"))]));
        world.batch_to(1, &batch_of(&[(Insert, (Some(1), 1, "r"))]));
        world.take_output();
        world.batch_to(
            0,
            &batch_of(&[(RowKind::UpdateBefore, (Some(1), 1, "l")), (RowKind::UpdateAfter, (Some(1), 2, "l"))]),
        );
        world.batch_to(1, &batch_of(&[(RowKind::UpdateBefore, (Some(1), 1, "r"))]));
        text_of(&mut world)
    };
    assert_eq!(changed(Kind::Inner), ["-U|1|1|l|1|1|r", "+U|1|2|l|1|1|r", "-U|1|2|l|1|1|r"]);
    let of_left = ["-D|1|1|l|1|1|r", "+I|1|2|l|1|1|r", "-D|1|2|l|1|1|r", "+I|1|2|l|NULL|NULL|NULL"];
    assert_eq!(changed(Kind::Left), of_left);
    assert_eq!(changed(Kind::Semi), ["-U|1|1|l", "+U|1|2|l", "-U|1|2|l"]);
    assert_eq!(changed(Kind::Anti), ["+I|1|2|l"]);
}
