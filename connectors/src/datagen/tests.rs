//! Rows are the same whatever the batch size, the restart point and the columns read.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use expect_test::{Expect, expect};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidemill_engine::source::{Position, Read, Source};

use crate::print::{PrintStyle, write_value};
use crate::registry::{Registry, Usage};
use crate::table::TableSpec;

fn table(fields: Vec<Field>, options: &[(&str, &str)]) -> TableSpec {
    let fast = [("connector", "datagen"), ("rows-per-second", "1000000000000")];
    TableSpec {
        name: "gen".into(),
        columns: SchemaRef::new(Schema::new(fields)),
        metadata: vec![],
        partition_keys: vec![],
        primary_key: vec![],
        options: fast.iter().chain(options).map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        time_zone: "UTC".into(),
    }
}

fn names(spec: &TableSpec) -> Vec<String> {
    spec.columns.fields().iter().map(|field| field.name().clone()).collect()
}

/// Reads on from `position` until `rows` rows or the end, `batch` rows at a time.
fn read(source: &Arc<dyn Source>, position: Option<&Position>, rows: usize, batch: usize) -> (RecordBatch, Position) {
    let split = source.discover().expect("splits").remove(0);
    let mut reader = source.open(&split, position).expect("a reader");
    let (mut batches, mut count) = (vec![], 0);
    while count < rows {
        match reader.next(batch.min(rows - count)).expect("rows") {
            Read::Rows { rows, .. } => {
                count += rows.num_rows();
                batches.push(rows.rows().clone());
            }
            Read::Watermark(_) => unreachable!("datagen knows no watermark"),
            Read::Wait(time) => std::thread::sleep(time),
            Read::End => break,
        }
    }
    (concat_batches(&source.schema(), &batches).expect("one batch"), reader.position())
}

fn all_types() -> Vec<Field> {
    let pair: Fields = vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)].into();
    let entries: Fields =
        vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)].into();
    let entry = Field::new("entries", DataType::Struct(entries), false);
    let types = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(12, 3),
        DataType::Utf8,
        DataType::Binary,
        DataType::Interval(IntervalUnit::YearMonth),
        DataType::Duration(TimeUnit::Millisecond),
        DataType::List(Arc::new(Field::new("element", DataType::Int64, true))),
        DataType::Map(Arc::new(entry), false),
        DataType::Struct(pair),
    ];
    types.into_iter().enumerate().map(|(index, data_type)| Field::new(format!("c{index}"), data_type, true)).collect()
}

#[test]
fn neither_batches_nor_restarts_nor_projection_change_a_row() {
    let options = [("number-of-rows", "500"), ("fields.c4.null-rate", "0.3"), ("fields.c12.var-len", "true")];
    let spec = table(all_types(), &options);
    let registry = Registry::standard();
    let source = registry.source(&spec, &names(&spec)).expect("a source");
    let (whole, end) = read(&source, None, usize::MAX, 8192);
    assert_eq!((whole.num_rows(), end), (500, Position::from(500)));
    assert!((100..200).contains(&whole.column(4).null_count()), "{}", whole.column(4).null_count());
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..20 {
        let at = rng.random_range(0..=500);
        let (first, position) = read(&source, None, at, rng.random_range(1..100));
        let (rest, _) = read(&source, Some(&position), usize::MAX, rng.random_range(1..100));
        assert_eq!(concat_batches(&whole.schema(), [&first, &rest]).expect("one batch"), whole, "restart at {at}");
    }
    let some = registry.source(&spec, &["c14".into(), "c3".into()]).expect("a source");
    let (projected, _) = read(&some, None, usize::MAX, 77);
    assert_eq!(projected, whole.project(&[14, 3]).expect("columns"));
}

#[test]
fn times_are_now_and_up_to_the_given_past() {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let fields = vec![
        Field::new("now", time.clone(), true),
        Field::new("past", time, true),
        Field::new("day", DataType::Date32, true),
        Field::new("clock", DataType::Time32(TimeUnit::Millisecond), true),
    ];
    let spec = table(fields, &[("number-of-rows", "100"), ("fields.past.max-past", "1 h")]);
    let source = Registry::standard().source(&spec, &names(&spec)).expect("a source");
    let (rows, _) = read(&source, None, usize::MAX, 100);
    let millis = |column: usize| {
        let cast = arrow::compute::cast(rows.column(column), &DataType::Int64).expect("a number");
        cast.as_any().downcast_ref::<arrow::array::Int64Array>().expect("a number").values().to_vec()
    };
    let now = millis(0)[0];
    assert!(millis(1).iter().all(|past| (now - 3_600_000..=now).contains(past)));
    assert!(millis(1).iter().any(|past| *past < now - 1_800_000));
}

fn check_rows(fields: Vec<Field>, options: &[(&str, &str)], expected: Expect) {
    let spec = table(fields, options);
    let source = Registry::standard().source(&spec, &names(&spec)).expect("a source");
    let (rows, _) = read(&source, None, 8, 3);
    let mut text = String::new();
    for row in 0..rows.num_rows() {
        for column in rows.columns() {
            write_value(&mut text, column, row, PrintStyle::Table).expect("a value");
            text.push(' ');
        }
        text = text.trim_end().to_string() + "\n";
    }
    expected.assert_eq(&text);
}

#[test]
fn sequences_count_and_end_the_source() {
    let fields = vec![
        Field::new("id", DataType::Int32, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("price", DataType::Decimal128(6, 2), true),
        Field::new("ts", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("late", DataType::Timestamp(TimeUnit::Millisecond, None), false),
        Field::new("colour", DataType::Utf8, true),
    ];
    let options = [
        ("fields.id.kind", "sequence"),
        ("fields.id.start", "10"),
        ("fields.id.end", "14"),
        ("fields.name.kind", "sequence"),
        ("fields.name.start", "1"),
        ("fields.name.end", "100"),
        ("fields.price.kind", "sequence"),
        ("fields.price.start", "0.5"),
        ("fields.price.step", "0.25"),
        ("fields.ts.kind", "sequence"),
        ("fields.ts.start", "2024-01-01 00:00:00"),
        ("fields.ts.step", "90 s"),
        ("fields.late.kind", "sequence"),
        ("fields.late.start", "2024-01-01 00:00:00"),
        ("fields.late.step", "1 s"),
        ("fields.late.max-past", "10 s"),
        ("fields.colour.values", "red, green, blue"),
    ];
    check_rows(
        fields,
        &options,
        expect![[r#"
        10 1 0.50 2024-01-01 00:00:00.000 2023-12-31 23:59:59.886 red
        11 2 0.75 2024-01-01 00:01:30.000 2023-12-31 23:59:55.675 blue
        12 3 1.00 2024-01-01 00:03:00.000 2023-12-31 23:59:57.860 red
        13 4 1.25 2024-01-01 00:04:30.000 2023-12-31 23:59:53.025 green
        14 5 1.50 2024-01-01 00:06:00.000 2023-12-31 23:59:59.809 green
    "#]],
    );
}

#[test]
fn random_values_keep_their_ranges() {
    let fields = vec![
        Field::new("n", DataType::Int8, true),
        Field::new("f", DataType::Float64, true),
        Field::new("d", DataType::Decimal128(6, 2), true),
        Field::new("s", DataType::Utf8, true),
        Field::new("l", DataType::List(Arc::new(Field::new("element", DataType::Int32, true))), true),
    ];
    let options = [
        ("fields.n.min", "1"),
        ("fields.n.max", "3"),
        ("fields.f.min", "-1"),
        ("fields.f.max", "1"),
        ("fields.d.min", "10"),
        ("fields.d.max", "20.50"),
        ("fields.s.length", "5"),
        ("fields.s.null-rate", "0.4"),
        ("fields.l.element.min", "0"),
        ("fields.l.element.max", "9"),
        ("fields.l.length", "2"),
    ];
    check_rows(
        fields,
        &options,
        expect![[r#"
        1 0.2779324699653707 12.67 NULL [0, 7]
        1 0.1410226458771553 20.18 a729d [3, 0]
        1 0.4920720432853678 17.94 NULL [4, 1]
        2 0.8849936940959191 19.12 53a04 [9, 6]
        1 -0.02643003136761335 10.94 NULL [3, 7]
        3 0.6804326014329989 18.69 443c0 [2, 1]
        1 0.4512751543485587 13.87 NULL [4, 4]
        2 0.10475406590167813 12.48 4c096 [5, 6]
    "#]],
    );
}

fn check_problems(fields: Vec<Field>, options: &[(&str, &str)], expected: Expect) {
    let problems = Registry::standard().check(&table(fields, options), Usage::Source).expect_err("refused");
    expected.assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn options_must_fit_their_columns() {
    let fields = || {
        vec![
            Field::new("id", DataType::Int8, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("l", DataType::List(Arc::new(Field::new("element", DataType::Int32, true))), true),
        ]
    };
    check_problems(
        fields(),
        &[("fields.nmae.length", "5"), ("fields.id.length", "5")],
        expect![[r#"
        option 'fields.id.length' does not apply to random TINYINT values
        option 'fields.nmae.length': there is no column 'nmae' (did you mean 'name'?)"#]],
    );
    check_problems(
        fields(),
        &[("fields.id.min", "1000"), ("fields.id.null-rate", "0.1")],
        expect![[r#"
        column 'id' is NOT NULL, so it takes no null rate (leave the option out, or declare the column without NOT NULL)
        option 'fields.id.min' takes a whole number of the column's type, not '1000'"#]],
    );
    check_problems(
        fields(),
        &[("fields.id.kind", "sequence")],
        expect!["the sequence of 'id' needs the option 'fields.id.start'"],
    );
    check_problems(
        fields(),
        &[("fields.id.min", "5"), ("fields.id.max", "4")],
        expect!["column 'id': the first value of the range is above the last"],
    );
    check_problems(
        fields(),
        &[("fields.l.element.kind", "sequence")],
        expect!["column 'l.element': there are no sequences inside arrays and maps"],
    );
    check_problems(
        fields(),
        &[("fields.l.kind", "sequence")],
        expect!["column 'l': there are no sequences of type ARRAY<INT>"],
    );
    check_problems(
        fields(),
        &[("fields.id.values", "1,two")],
        expect!["option 'fields.id.values' takes values of type TINYINT, separated by commas, not '1,two'"],
    );
    check_problems(
        fields(),
        &[("fields.name.length", "1000000000")],
        expect![
            "rows of 1000000064 bytes are too long: datagen makes rows of up to 67108864 bytes (give shorter 'fields.#.length' options)"
        ],
    );
}
