//! Each type in both styles.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type};
use expect_test::{Expect, expect};

use super::*;

fn check(array: impl Array + 'static, expected: Expect) {
    let mut text = String::new();
    for row in 0..array.len() {
        for style in [PrintStyle::Flink, PrintStyle::Table] {
            write_value(&mut text, &array, row, style).expect("a value");
            text.push_str(if style == PrintStyle::Flink { " | " } else { "\n" });
        }
    }
    expected.assert_eq(&text);
}

#[test]
fn numbers() {
    check(
        BooleanArray::from(vec![Some(true), None]),
        expect![[r#"
        true | true
        null | NULL
    "#]],
    );
    check(
        Int64Array::from(vec![i64::MIN, 0]),
        expect![[r#"
        -9223372036854775808 | -9223372036854775808
        0 | 0
    "#]],
    );
    let decimals = Decimal128Array::from(vec![-1250, 0, 7]).with_precision_and_scale(10, 2).expect("fits");
    check(
        decimals,
        expect![[r#"
        -12.50 | -12.50
        0.00 | 0.00
        0.07 | 0.07
    "#]],
    );
}

#[test]
fn floats_read_as_in_java() {
    let values: Vec<(f64, &str)> = vec![
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-1.5, "-1.5"),
        (0.001, "0.001"),
        (0.0009, "9.0E-4"),
        (0.05, "0.05"),
        (123456.75, "123456.75"),
        (9999999.0, "9999999.0"),
        (1e7, "1.0E7"),
        (1.25e300, "1.25E300"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    let array = PrimitiveArray::<Float64Type>::from_iter_values(values.iter().map(|(value, _)| *value));
    for (row, (_, expected)) in values.iter().enumerate() {
        let mut text = String::new();
        write_value(&mut text, &array, row, PrintStyle::Flink).expect("a value");
        assert_eq!(text, *expected);
    }
    check(
        Float32Array::from(vec![0.1, 3.0e10]),
        expect![[r#"
        0.1 | 0.1
        3.0E10 | 3.0E10
    "#]],
    );
}

#[test]
fn texts_and_bytes() {
    check(
        StringArray::from(vec!["a, b", "tab\there\u{1b}[2J"]),
        expect![[r#"
            a, b | a, b
            tab	here[2J | tab\there\u{1b}[2J
        "#]],
    );
    check(
        BinaryArray::from(vec![&[1u8, 255][..], &[]]),
        expect![[r#"
        [1, -1] | x'01ff'
        [] | x''
    "#]],
    );
}

#[test]
fn times() {
    check(
        Date32Array::from(vec![0, 19_723, -1, i32::MAX]),
        expect![[r#"
        1970-01-01 | 1970-01-01
        2024-01-01 | 2024-01-01
        1969-12-31 | 1969-12-31
        2147483647 days | 2147483647 days
    "#]],
    );
    check(
        Time32MillisecondArray::from(vec![0, 36_930_000, 36_930_120]),
        expect![[r#"
        00:00 | 00:00:00
        10:15:30 | 10:15:30
        10:15:30.120 | 10:15:30.120
    "#]],
    );
    let midnight = 1_704_067_200_000;
    check(
        TimestampMillisecondArray::from(vec![midnight, midnight + 1_000, midnight + 100, -1]),
        expect![[r#"
        2024-01-01T00:00 | 2024-01-01 00:00:00.000
        2024-01-01T00:00:01 | 2024-01-01 00:00:01.000
        2024-01-01T00:00:00.100 | 2024-01-01 00:00:00.100
        1969-12-31T23:59:59.999 | 1969-12-31 23:59:59.999
    "#]],
    );
    check(
        TimestampMicrosecondArray::from(vec![midnight * 1000 + 1]),
        expect![[r#"
        2024-01-01T00:00:00.000001 | 2024-01-01 00:00:00.000001
    "#]],
    );
    check(
        TimestampMillisecondArray::from(vec![midnight]).with_timezone("Europe/Berlin"),
        expect![[r#"
        2024-01-01T00:00:00Z | 2024-01-01 01:00:00.000
    "#]],
    );
    check(
        IntervalYearMonthArray::from(vec![14, 0, -12]),
        expect![[r#"
        P1Y2M | P1Y2M
        P0D | P0D
        P-1Y | P-1Y
    "#]],
    );
    check(
        DurationMillisecondArray::from(vec![172_860_500, 0, 60_000]),
        expect![[r#"
        PT48H1M0.5S | PT48H1M0.5S
        PT0S | PT0S
        PT1M | PT1M
    "#]],
    );
}

#[test]
fn nested_values() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), Some(vec![])]);
    check(
        list,
        expect![[r#"
        [1, null] | [1, NULL]
        [] | []
    "#]],
    );
    let fields = vec![
        (Arc::new(Field::new("id", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        (
            Arc::new(Field::new("name", DataType::Utf8, true)),
            Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef,
        ),
    ];
    let row = StructArray::from(fields);
    let entries = StructArray::from(vec![
        (Arc::new(Field::new("key", DataType::Utf8, false)), Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
        (Arc::new(Field::new("value", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef),
    ]);
    check(
        row,
        expect![[r#"
        +I[1, null] | (1, NULL)
    "#]],
    );
    let entry = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    check(
        MapArray::new(entry, OffsetBuffer::from_lengths([2]), entries, None, false),
        expect![[r#"
        {a=1, b=2} | {a=1, b=2}
    "#]],
    );
}
