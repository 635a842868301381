//! One result in each format.

use arrow::array::Int64Array;
use expect_test::{Expect, expect};

use super::*;

fn rows() -> RecordBatch {
    let fields = vec![Field::new("name", DataType::Utf8, true), Field::new("visits|n", DataType::Int64, true)];
    let names = StringArray::from(vec![Some("ann"), None, Some("日本, \"x\"\nnext"), Some("")]);
    let visits = Int64Array::from(vec![Some(1), Some(-20), None, Some(4)]);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), vec![Arc::new(names), Arc::new(visits)]).expect("rows")
}

fn check(format: Format, expanded: bool, width: Option<usize>, expected: Expect) {
    let style = Style { format, expanded, width };
    let mut sheet = Sheet::new(rows().schema(), style).expect("a sheet");
    let mut text = sheet.add(&rows()).expect("text");
    text += &sheet.settle().expect("text");
    text += &sheet.add(&rows().slice(0, 1)).expect("text");
    expected.assert_eq(&(text + &sheet.finish().expect("text")));
}

#[test]
fn tables_of_lines_and_of_records() {
    check(
        Format::Table,
        false,
        None,
        expect![[r#"
        +-----------------+----------+
        | name            | visits|n |
        +-----------------+----------+
        | ann             |        1 |
        | NULL            |      -20 |
        | 日本, "x"\nnext |     NULL |
        |                 |        4 |
        | ann             |        1 |
        +-----------------+----------+
    "#]],
    );
    check(
        Format::Table,
        false,
        Some(24),
        expect![[r#"
        +-----------+----------+
        | name      | visits|n |
        +-----------+----------+
        | ann       |        1 |
        | NULL      |      -20 |
        | 日本, "x… |     NULL |
        |           |        4 |
        | ann       |        1 |
        +-----------+----------+
    "#]],
    );
    check(
        Format::Table,
        false,
        Some(14),
        expect![[r#"
        +----------+
        | name     |
        +----------+
        | ann      |
        | NULL     |
        | 日本, "… |
        |          |
        | ann      |
        +----------+
    "#]],
    );
    check(
        Format::Table,
        true,
        None,
        expect![[r#"
        -[ record 1 ]-----------
        name     | ann
        visits|n | 1
        -[ record 2 ]-----------
        name     | NULL
        visits|n | -20
        -[ record 3 ]-----------
        name     | 日本, "x"\nnext
        visits|n | NULL
        -[ record 4 ]-----------
        name     | 
        visits|n | 4
        -[ record 5 ]-----------
        name     | ann
        visits|n | 1
    "#]],
    );
}

#[test]
fn formats_that_programs_read() {
    check(
        Format::Csv,
        false,
        None,
        expect![[r#"
        name,visits|n
        ann,1
        ,-20
        "日本, ""x""
        next",
        "",4
        ann,1
    "#]],
    );
    check(
        Format::Json,
        false,
        None,
        expect![[r#"
        {"name":"ann","visits|n":1}
        {"name":null,"visits|n":-20}
        {"name":"日本, \"x\"\nnext","visits|n":null}
        {"name":"","visits|n":4}
        {"name":"ann","visits|n":1}
    "#]],
    );
    check(
        Format::Markdown,
        false,
        None,
        expect![[r#"
        | name | visits\|n |
        |---|---:|
        | ann | 1 |
        | NULL | -20 |
        | 日本, "x"\nnext | NULL |
        |  | 4 |
        | ann | 1 |
    "#]],
    );
}

#[test]
fn a_result_without_rows_has_its_header() {
    let empty = |format| {
        let style = Style { format, expanded: false, width: None };
        Sheet::new(rows().schema(), style).and_then(Sheet::finish).expect("text")
    };
    expect![[r#"
        +------+----------+
        | name | visits|n |
        +------+----------+
        +------+----------+
    "#]]
    .assert_eq(&empty(Format::Table));
    expect![[r#"
        name,visits|n
    "#]]
    .assert_eq(&empty(Format::Csv));
    assert_eq!(empty(Format::Json), "");
}

#[test]
fn texts_are_cut_by_the_columns_that_they_take() {
    for (text, columns, shown) in
        [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("日本語", 5, "日本…"), ("日本語", 4, "日…"), ("abc", 0, "")]
    {
        assert_eq!(cells::cut(text, columns), shown);
    }
    assert_eq!(cells::fill("日", 4, false), "日  ");
    assert_eq!(cells::fill("7", 3, true), "  7");
}
