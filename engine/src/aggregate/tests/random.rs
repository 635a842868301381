//! Random inputs, batches, partials, merges, round trips and retractions, compared with the twin.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::ScalarValue;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::input::{Case, GROUPS, Input};
use super::twin::expected;
use crate::aggregate::{AggregateSet, names};

const ROUNDS: u64 = 8;
const ROWS_MAX: usize = 200;

const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn numbers() -> Vec<DataType> {
    vec![
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(20, 3),
    ]
}

/// Every type with an order.
fn ordered() -> Vec<DataType> {
    let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some("Europe/Berlin".into()));
    let mut types = numbers();
    types.extend([DataType::Boolean, DataType::Utf8, DataType::Binary, DataType::Date32, TIMESTAMP, zoned]);
    types.extend([DataType::Time32(TimeUnit::Millisecond), DataType::Duration(TimeUnit::Millisecond)]);
    types
}

fn everything() -> Vec<DataType> {
    let list = DataType::List(Field::new("item", DataType::Utf8, true).into());
    ordered().into_iter().chain([list]).collect()
}

/// The cases that can take rows back, and all others.
fn cases() -> (Vec<Case>, Vec<Case>) {
    let mut reversible = vec![Case::new("count", &[]), Case::new("count", &[DataType::Utf8, DataType::Int32])];
    let mut others = Vec::new();
    for number in numbers() {
        let one = std::slice::from_ref(&number);
        for name in ["sum", "avg", "var_pop", "var_samp", "stddev_pop", "stddev_samp"] {
            reversible.push(Case::new(name, one));
            reversible.push(Case::new(name, one).distinct());
        }
        others.push(Case::new("median", one));
        others.push(Case::new("percentile", one).with(0.3));
        others.push(Case::new("percentile", one).with(0.9).distinct());
        others.push(Case::new("approx_percentile_cont", one).with(0.95));
    }
    for name in names().iter().map(|doc| doc.name).filter(|name| name.starts_with("regr_")) {
        reversible.push(Case::new(name, &[DataType::Float64, DataType::Int32]));
    }
    for name in ["corr", "covar_pop", "covar_samp"] {
        reversible.push(Case::new(name, &[DataType::Int64, DataType::Float64]));
    }
    for argument in ordered() {
        others.extend(["min", "max"].map(|name| Case::new(name, std::slice::from_ref(&argument))));
        others.push(Case::new("min", std::slice::from_ref(&argument)).distinct());
        others.extend(["first_value", "last_value"].map(|name| Case::new(name, &[argument.clone(), TIMESTAMP])));
    }
    for argument in everything() {
        let one = std::slice::from_ref(&argument);
        reversible.push(Case::new("count", one));
        reversible.push(Case::new("count", one).distinct());
        reversible.push(Case::new("count", &[argument.clone(), DataType::Int8]).distinct());
        others.push(Case::new("approx_count_distinct", one));
    }
    for name in ["bit_and", "bit_or", "bit_xor"] {
        others.extend([DataType::Int8, DataType::Int64].map(|argument| Case::new(name, &[argument])));
    }
    others.extend(["bool_and", "bool_or"].map(|name| Case::new(name, &[DataType::Boolean])));
    (reversible, others)
}

/// Cases whose result depends on the order of arrival.
fn arrival_cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("listagg", &[DataType::Utf8]),
        Case::new("listagg", &[DataType::Utf8]).with("; "),
        Case::new("listagg", &[DataType::Utf8]).distinct(),
    ];
    for argument in everything() {
        let one = std::slice::from_ref(&argument);
        cases.extend(["first_value", "last_value", "array_agg", "collect"].map(|name| Case::new(name, one)));
        cases.push(Case::new("array_agg", one).distinct());
    }
    cases
}

/// Compares the results of all groups with the twin's.
fn compare(case: &Case, input: &Input, filter: bool, found: &ArrayRef, context: &str) {
    for group in 0..GROUPS {
        let wanted = expected(case, &input.group(group, filter), found.data_type());
        let found = ScalarValue::try_from_array(found, group as usize).unwrap();
        assert!(close(&found, &wanted), "{} {context}, group {group}: {found:?}, not {wanted:?}", case.display());
    }
}

/// Equal; statistics may differ by the twin's own rounding.
fn close(found: &ScalarValue, wanted: &ScalarValue) -> bool {
    match (found, wanted) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
        _ => found == wanted,
    }
}

fn all_slots() -> Vec<u32> {
    (0..GROUPS).collect()
}

fn evaluate(set: &AggregateSet, slots: &[u32]) -> ArrayRef {
    let first = set.evaluate(slots).unwrap().remove(0);
    assert_eq!(&first, &set.evaluate(slots).unwrap()[0], "evaluate changes nothing");
    first
}

/// Rows in random order, cut into batches of random sizes.
fn batches(count: usize, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(rng);
    cut(&order, rng)
}

fn cut(order: &[usize], rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut rest = order;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rng.random_range(1..=rest.len()));
        batches.push(head.to_vec());
        rest = tail;
    }
    batches
}

fn run(mut check: impl FnMut(&Case, &Input, bool, &mut ChaCha8Rng), cases: &[Case]) {
    for (index, case) in cases.iter().enumerate() {
        for round in 0..ROUNDS {
            let mut rng = ChaCha8Rng::seed_from_u64(index as u64 * 1000 + round);
            let count = rng.random_range(0..ROWS_MAX);
            let input = Input::random(case, count, &mut rng);
            let filter = rng.random_bool(0.5);
            check(case, &input, filter, &mut rng);
        }
    }
}

fn independent_cases() -> Vec<Case> {
    let (mut cases, others) = cases();
    cases.extend(others);
    cases
}

#[test]
fn batches_in_any_order_give_the_twins_results() {
    run(
        |case, input, filter, rng| {
            let mut set = case.set(filter, GROUPS as usize);
            for batch in batches(input.rows.len(), rng) {
                set.update(&input.slots(&batch), &input.batch(&batch)).unwrap();
            }
            compare(case, input, filter, &evaluate(&set, &all_slots()), "in batches");
        },
        &independent_cases(),
    );
}

#[test]
fn arrival_order_is_kept() {
    run(
        |case, input, filter, rng| {
            let mut set = case.set(filter, GROUPS as usize);
            let order: Vec<usize> = (0..input.rows.len()).collect();
            for batch in cut(&order, rng) {
                set.update(&input.slots(&batch), &input.batch(&batch)).unwrap();
                set = moved(case, filter, set);
            }
            compare(case, input, filter, &evaluate(&set, &all_slots()), "by arrival");
        },
        &arrival_cases(),
    );
}

#[test]
fn running_results_are_those_of_all_rows_so_far() {
    let mut cases = [independent_cases(), arrival_cases()].concat();
    cases.extend(over_updates(arrival_cases()));
    run(
        |case, input, filter, rng| {
            let mut set = case.set(filter, GROUPS as usize);
            let mut twin = case.set(filter, GROUPS as usize);
            let order: Vec<usize> = (0..input.rows.len()).collect();
            for mut batch in cut(&order, rng) {
                batch.sort_by_key(|row| input.groups[*row]);
                let slots = input.slots(&batch);
                let is_end = |row: &usize| slots.get(*row) != Some(&slots[row - 1]);
                let ends: Vec<usize> = (1..=slots.len()).filter(|row| is_end(row) || rng.random_bool(0.5)).collect();
                let told: Vec<u32> = ends.iter().map(|end| *end as u32).collect();
                let found = set.update_running(&slots, &told, &input.batch(&batch)).unwrap().remove(0);
                assert_eq!(found.len(), ends.len());
                let mut start = 0;
                for (stretch, end) in ends.into_iter().enumerate() {
                    twin.update(&slots[start..end], &input.batch(&batch[start..end])).unwrap();
                    let wanted = evaluate(&twin, &slots[start..=start]);
                    assert_eq!(&found.slice(stretch, 1), &wanted, "{}, rows {start}..{end}", case.display());
                    start = end;
                }
            }
            compare(case, input, filter, &evaluate(&set, &all_slots()), "with running results");
        },
        &cases,
    );
}

/// A new set with the state of another, by way of row bytes.
fn moved(case: &Case, filter: bool, set: AggregateSet) -> AggregateSet {
    let mut restored = case.set(filter, GROUPS as usize);
    let rows = set.encode_state(&all_slots()).unwrap();
    restored.merge_encoded(&all_slots(), rows.iter().map(|row| row.data())).unwrap();
    restored
}

#[test]
fn partials_merge_in_any_order() {
    run(
        |case, input, filter, rng| {
            // Each partial is a set of its own or a range of slots; all are merged into one.
            let partial_count = rng.random_range(1..5u32);
            let mut partials = case.set(filter, (partial_count * GROUPS) as usize);
            for batch in batches(input.rows.len(), rng) {
                let shift = rng.random_range(0..partial_count) * GROUPS;
                let slots: Vec<u32> = input.slots(&batch).iter().map(|slot| slot + shift).collect();
                partials.update(&slots, &input.batch(&batch)).unwrap();
                partials.encode_state(&slots).unwrap();
            }
            let mut from: Vec<u32> = (0..partial_count * GROUPS).collect();
            from.shuffle(rng);
            let into: Vec<u32> = from.iter().map(|slot| slot % GROUPS).collect();
            let mut total = case.set(filter, GROUPS as usize);
            total.merge_from(&into, &partials, &from).unwrap();
            compare(case, input, filter, &evaluate(&total, &all_slots()), "merged from columns");

            let mut total = case.set(filter, GROUPS as usize);
            let rows = partials.encode_state(&from).unwrap();
            total.merge_encoded(&into, rows.iter().map(|row| row.data())).unwrap();
            compare(case, input, filter, &evaluate(&total, &all_slots()), "merged from bytes");
        },
        &independent_cases(),
    );
}

#[test]
fn rows_can_be_taken_back() {
    run(
        |case, input, filter, rng| {
            let extra = Input::random(case, 50, rng);
            let every_extra: Vec<usize> = (0..50).collect();
            let mut set = case.set(filter, GROUPS as usize);
            // The extra rows come and go in different batches, across a round trip of the state.
            for batch in cut(&every_extra, rng) {
                set.update(&extra.slots(&batch), &extra.batch(&batch)).unwrap();
            }
            set = moved(case, filter, set);
            for batch in batches(input.rows.len(), rng) {
                set.update(&input.slots(&batch), &input.batch(&batch)).unwrap();
            }
            for batch in batches(50, rng) {
                set.retract(&extra.slots(&batch), &extra.batch(&batch)).unwrap();
            }
            compare(case, input, filter, &evaluate(&set, &all_slots()), "after retraction");
        },
        &over_updates(independent_cases()),
    );
}

/// All but the approximations, for inputs whose rows may be taken back.
fn over_updates(cases: Vec<Case>) -> Vec<Case> {
    cases.into_iter().filter(|case| !case.name.starts_with("approx")).map(Case::over_updates).collect()
}

#[test]
fn what_is_left_keeps_its_order_of_arrival() {
    run(
        |case, input, filter, rng| {
            let extra = Input::random(case, 50, rng);
            let mut set = case.set(filter, GROUPS as usize);
            let every_extra: Vec<usize> = (0..50).collect();
            set.update(&extra.slots(&every_extra), &extra.batch(&every_extra)).unwrap();
            let order: Vec<usize> = (0..input.rows.len()).collect();
            for batch in cut(&order, rng) {
                set.update(&input.slots(&batch), &input.batch(&batch)).unwrap();
                set = moved(case, filter, set);
            }
            for batch in batches(50, rng) {
                set.retract(&extra.slots(&batch), &extra.batch(&batch)).unwrap();
            }
            compare(case, input, filter, &evaluate(&set, &all_slots()), "by arrival, after retraction");
        },
        &over_updates(arrival_cases().into_iter().filter(|case| !case.distinct).collect()),
    );
}

#[test]
fn partials_may_take_back_what_another_added() {
    let counted = |case: &Case| !matches!(case.name, "array_agg" | "collect" | "listagg");
    run(
        |case, input, filter, rng| {
            let extra = Input::random(case, 30, rng);
            let every_extra: Vec<usize> = (0..30).collect();
            let every_row: Vec<usize> = (0..input.rows.len()).collect();
            let (mut added, mut taken) = (case.set(filter, GROUPS as usize), case.set(filter, GROUPS as usize));
            added.update(&extra.slots(&every_extra), &extra.batch(&every_extra)).unwrap();
            taken.retract(&extra.slots(&every_extra), &extra.batch(&every_extra)).unwrap();
            taken.update(&input.slots(&every_row), &input.batch(&every_row)).unwrap();
            let mut total = case.set(filter, GROUPS as usize);
            for partial in if rng.random_bool(0.5) { [&added, &taken] } else { [&taken, &added] } {
                total.merge_from(&all_slots(), partial, &all_slots()).unwrap();
            }
            compare(case, input, filter, &evaluate(&total, &all_slots()), "merged from partials");
        },
        &over_updates(cases().1.into_iter().filter(|case| counted(case) && !case.distinct).collect()),
    );
}

#[test]
fn a_reset_slot_is_empty_and_holds_nothing() {
    let mut cases = independent_cases();
    cases.extend(arrival_cases());
    run(
        |case, input, filter, rng| {
            let mut set = case.set(filter, GROUPS as usize);
            let empty_bytes = set.size_bytes();
            let batches = batches(input.rows.len(), rng);
            for batch in &batches {
                set.update(&input.slots(batch), &input.batch(batch)).unwrap();
            }
            set.reset(&all_slots());
            assert_eq!(set.size_bytes(), empty_bytes, "{}", case.display());
            let order: Vec<usize> = (0..input.rows.len()).collect();
            set.update(&input.slots(&order), &input.batch(&order)).unwrap();
            compare(case, input, filter, &evaluate(&set, &all_slots()), "after reset");
        },
        &cases,
    );
}

/// Any double at all, from tiny to huge, now and then not finite.
fn wild(rng: &mut ChaCha8Rng) -> ScalarValue {
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, 5e-324];
    let range = [300.0, 20.0, 2.0][rng.random_range(0..3)];
    let ordinary = 10f64.powf(rng.random_range(-range..range)) * rng.random_range(-1.0..1.0);
    ScalarValue::from(if rng.random_bool(0.002) { special[rng.random_range(0..special.len())] } else { ordinary })
}

#[test]
fn floats_never_depend_on_batches_order_or_merges() {
    let doubles = [DataType::Float64, DataType::Float64];
    for case in independent_cases() {
        let argument_count = case.arguments.len();
        if argument_count == 0 || case.arguments[0] != DataType::Float64 || case.name.contains("value") {
            continue;
        }
        let case = Case { arguments: doubles[..argument_count].to_vec(), ..case };
        for round in 0..20 {
            let mut rng = ChaCha8Rng::seed_from_u64(round);
            let mut input = Input::random(&case, 300, &mut rng);
            input.rows.iter_mut().flatten().for_each(|value| *value = wild(&mut rng));
            let results: Vec<ArrayRef> = (0..3).map(|_| merged_result(&case, &input, &mut rng)).collect();
            // Arrays compare doubles by their bits.
            let bits = |column: &ArrayRef| column.to_data();
            assert!(results.iter().all(|column| bits(column) == bits(&results[0])), "{} {results:?}", case.display());
        }
    }
}

/// The result over random partials.
fn merged_result(case: &Case, input: &Input, rng: &mut ChaCha8Rng) -> ArrayRef {
    let mut partials = case.set(false, 2 * GROUPS as usize);
    for batch in batches(input.rows.len(), rng) {
        let shift = rng.random_range(0..2) * GROUPS;
        let slots: Vec<u32> = input.slots(&batch).iter().map(|slot| slot + shift).collect();
        partials.update(&slots, &input.batch(&batch)).unwrap();
    }
    let upper: Vec<u32> = (GROUPS..2 * GROUPS).collect();
    partials.merge_within(&all_slots(), &upper).unwrap();
    evaluate(&partials, &all_slots())
}

#[test]
fn every_function_has_a_case_or_is_an_alias() {
    let mut cases = independent_cases();
    cases.extend(arrival_cases());
    let aliases = [
        "mean",
        "every",
        "some",
        "variance",
        "var",
        "stddev",
        "covar",
        "first",
        "last",
        "string_agg",
        "approx_distinct",
        "percentile_cont",
        "approx_percentile",
        "approx_median",
    ];
    for doc in names().iter().filter(|doc| doc.streams && !aliases.contains(&doc.name)) {
        assert!(cases.iter().any(|case| case.name == doc.name), "no test for {}", doc.name);
    }
}
