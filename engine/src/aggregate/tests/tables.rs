//! What aggregates give for small inputs, as tables.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use datafusion_common::ScalarValue;
use expect_test::{Expect, expect};

use super::input::Case;
use crate::aggregate::{names, resolve};

/// The result of a call over one column.
fn result(case: &Case, column: &ArrayRef) -> String {
    let mut set = case.set(false, 1);
    let batch = RecordBatch::try_from_iter([("x", column.clone())]).unwrap();
    set.update(&vec![0; column.len()], &batch).unwrap();
    match set.evaluate(&[0]) {
        Ok(columns) => ScalarValue::try_from_array(&columns[0], 0).unwrap().to_string(),
        Err(error) => error.to_string(),
    }
}

fn check(calls: &[Case], columns: &[ArrayRef], expected: Expect) {
    let mut table = String::new();
    for case in calls {
        let factory = resolve(case.name, &case.arguments, &case.literals, case.distinct).unwrap();
        let results: Vec<String> = columns.iter().map(|column| result(case, column)).collect();
        writeln!(table, "{} -> {}: {}", case.display(), factory.output_type(), results.join(" | ")).unwrap();
    }
    expected.assert_eq(&table);
}

fn one(name: &'static str, argument: DataType) -> Case {
    Case::new(name, &[argument])
}

#[test]
fn integers() {
    let columns: [ArrayRef; 3] = [
        Arc::new(Int32Array::from(vec![Some(7), None, Some(-2), Some(7), Some(-20)])),
        Arc::new(Int32Array::from(vec![None, None])),
        Arc::new(Int32Array::from(Vec::<i32>::new())),
    ];
    let int = || DataType::Int32;
    check(
        &[
            one("count", int()),
            one("count", int()).distinct(),
            one("sum", int()),
            one("sum", int()).distinct(),
            one("avg", int()),
            one("avg", int()).distinct(),
            one("min", int()),
            one("max", int()),
            one("first_value", int()),
            one("last_value", int()),
            one("var_pop", int()),
            one("stddev_samp", int()),
            one("median", int()),
            one("percentile", int()).with(0.25),
            one("approx_count_distinct", int()),
            one("array_agg", int()),
            one("collect", int()),
            one("bit_xor", int()),
        ],
        &columns,
        expect![[r#"
            count(Int32) -> Int64: 4 | 0 | 0
            count(DISTINCT Int32) -> Int64: 3 | 0 | 0
            sum(Int32) -> Int64: -8 | NULL | NULL
            sum(DISTINCT Int32) -> Int64: -15 | NULL | NULL
            avg(Int32) -> Int32: -2 | NULL | NULL
            avg(DISTINCT Int32) -> Int32: -5 | NULL | NULL
            min(Int32) -> Int32: -20 | NULL | NULL
            max(Int32) -> Int32: 7 | NULL | NULL
            first_value(Int32) -> Int32: 7 | NULL | NULL
            last_value(Int32) -> Int32: -20 | NULL | NULL
            var_pop(Int32) -> Float64: 121.5 | NULL | NULL
            stddev_samp(Int32) -> Float64: 12.727922061357855 | NULL | NULL
            median(Int32) -> Float64: 2.5 | NULL | NULL
            percentile(Int32, 0.25) -> Float64: -6.5 | NULL | NULL
            approx_count_distinct(Int32) -> Int64: 3 | 0 | 0
            array_agg(Int32) -> List(Int32): [7, , -2, 7, -20] | [, ] | 
            collect(Int32) -> List(Int32): [7, -2, 7, -20] |  | 
            bit_xor(Int32) -> Int32: 18 | NULL | NULL
        "#]],
    );
}

#[test]
fn floats_that_are_not_ordinary() {
    let nan = f64::NAN;
    let columns: [ArrayRef; 4] = [
        Arc::new(Float64Array::from(vec![1e16, 1.0, -1e16])),
        Arc::new(Float64Array::from(vec![1.0, nan, 2.0])),
        Arc::new(Float64Array::from(vec![f64::INFINITY, 1.0])),
        Arc::new(Float64Array::from(vec![-nan, f64::INFINITY, f64::NEG_INFINITY])),
    ];
    let double = || DataType::Float64;
    check(
        &[
            one("sum", double()),
            one("avg", double()),
            one("min", double()),
            one("max", double()),
            one("stddev_pop", double()),
            one("median", double()),
            one("count", double()).distinct(),
        ],
        &columns,
        expect![[r#"
            sum(Float64) -> Float64: 1 | NaN | inf | NaN
            avg(Float64) -> Float64: 0.3333333333333333 | NaN | inf | NaN
            min(Float64) -> Float64: -10000000000000000 | 1 | 1 | -inf
            max(Float64) -> Float64: 10000000000000000 | NaN | inf | NaN
            stddev_pop(Float64) -> Float64: 8164965809277260 | NaN | NaN | NaN
            median(Float64) -> Float64: 1 | 2 | inf | inf
            count(DISTINCT Float64) -> Int64: 3 | 3 | 2 | 3
        "#]],
    );
}

#[test]
fn overflow_is_an_error_whatever_the_order() {
    let columns: [ArrayRef; 2] =
        [Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX, i64::MIN])), Arc::new(Int64Array::from(vec![i64::MAX, 1]))];
    let bigint = || DataType::Int64;
    check(
        &[one("sum", bigint()), one("avg", bigint())],
        &columns,
        expect![[r#"
        sum(Int64) -> Int64: 9223372036854775806 | overflow in SUM or AVG: 9223372036854775808 is beyond BIGINT
          hint: CAST the argument to DOUBLE or a wider type
        avg(Int64) -> Int64: 3074457345618258602 | 4611686018427387904
    "#]],
    );
}

#[test]
fn calls_that_are_refused_say_what_to_write() {
    let refused = [
        Case::new("cuont", &[DataType::Int32]),
        Case::new("sum", &[DataType::Utf8]),
        Case::new("sum", &[DataType::Int32, DataType::Int32]),
        Case::new("sum", &[DataType::Null]),
        Case::new("min", &[DataType::new_list(DataType::Int32, true)]),
        Case::new("count", &[]).distinct(),
        Case::new("corr", &[DataType::Int32, DataType::Int32]).distinct(),
        Case::new("percentile", &[DataType::Int32]),
        Case::new("percentile", &[DataType::Int32]).with(95i64),
        Case::new("listagg", &[DataType::Int32]),
        Case::new("listagg", &[DataType::Utf8]).with(1i64),
        Case::new("first_value", &[DataType::Int32, DataType::Utf8]),
        Case::new("bit_and", &[DataType::Float64]),
        Case::new("nth_value", &[DataType::Int32]).with(2i64),
    ];
    let mut table = String::new();
    for case in &refused {
        let error = resolve(case.name, &case.arguments, &case.literals, case.distinct).err();
        writeln!(table, "{}", error.unwrap_or_else(|| panic!("{} is not refused", case.display()))).unwrap();
    }
    expect![[r#"
        there is no aggregate function CUONT
          hint: run `tidemill functions` for the list
        SUM: not defined for STRING
          hint: CAST the argument to a number
        SUM: 1 column argument(s) expected, 2 given
          hint: check the arguments; constants do not count as columns
        SUM: not defined for NULL
          hint: CAST the argument to a number
        MIN: not defined for ARRAY<INT>
          hint: CAST the argument to a type that has an order, such as STRING
        COUNT: DISTINCT needs an argument
          hint: write COUNT(DISTINCT column)
        CORR: DISTINCT is only supported over one column
          hint: remove duplicates in a subquery: SELECT ... FROM (SELECT DISTINCT ...)
        PERCENTILE: the fraction is missing or is not a constant
          hint: write it as a constant from 0 to 1, such as 0.95
        PERCENTILE: 95 is no fraction
          hint: write it as a constant from 0 to 1, such as 0.95
        LISTAGG: not defined for INT
          hint: CAST the argument to STRING
        LISTAGG: the separator is not a string
          hint: write it as a literal such as ', '
        FIRST_VALUE: the second argument is not a time
          hint: CAST it to TIMESTAMP(3)
        BIT_AND: not defined for DOUBLE
          hint: CAST the argument to BIGINT
        NTH_VALUE cannot run over a stream
          hint: order within a stream's group is not kept; use FIRST_VALUE or LAST_VALUE, or ARRAY_AGG(x)[n]
    "#]]
    .assert_eq(&table);
}

#[test]
fn names_are_in_lower_case_and_unique() {
    let mut seen = std::collections::HashSet::new();
    for doc in names() {
        assert_eq!(doc.name, doc.name.to_lowercase());
        assert!(seen.insert(doc.name), "{} is there twice", doc.name);
        assert!(doc.signature.to_lowercase().starts_with(&format!("{}(", doc.name)), "{}", doc.signature);
    }
}
