//! Tables of texts and the rows they give; round trips under many options; every block cut; random mutations.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use expect_test::{Expect, expect};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::format::{Block, Decoded, Format};

const ALL: usize = usize::MAX;

fn format(options: &[(&str, &str)]) -> Format {
    let options: BTreeMap<String, String> =
        options.iter().map(|(key, value)| (format!("csv.{key}"), (*value).to_owned())).collect();
    Format::parse("csv", &options).expect("valid options")
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn abc() -> SchemaRef {
    schema(&[("a", DataType::Int64), ("b", DataType::Utf8), ("c", DataType::Float64)])
}

fn decode(format: &Format, schema: &SchemaRef, projection: &[usize], text: &[u8]) -> tidemill_engine::Result<Decoded> {
    let mut decoder = format.decoder(schema, projection, Path::new("in.csv"))?;
    let block = Block::lines(text, 0, true);
    let begin = decoder.begin(block)?.expect("the file is whole");
    decoder.decode(Block::lines(&text[begin..], begin as u64, true), ALL)
}

fn render(decoded: &Decoded) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut text = String::new();
    for row in 0..decoded.rows.num_rows() {
        let cells = decoded.rows.columns().iter().map(|column| {
            format!(
                "{:?}",
                ArrayFormatter::try_new(column.as_ref(), &options).expect("printable").value(row).to_string()
            )
        });
        text += &format!("{}\n", cells.collect::<Vec<_>>().join(" "));
    }
    for rejected in &decoded.rejected {
        let record = String::from_utf8_lossy(&rejected.record);
        text += &format!("rejected {record:?} at {}: {}\n", rejected.offset, rejected.reason);
    }
    text
}

fn check(options: &[(&str, &str)], schema: &SchemaRef, text: &str, expected: Expect) {
    let options = [options, &[("ignore-parse-errors", "true")]].concat();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let decoded = decode(&format(&options), schema, &all, text.as_bytes()).expect("lenient");
    assert_eq!(decoded.consumed + decoded_start(&decoded, text, &options), text.len());
    expected.assert_eq(&render(&decoded));
}

/// What `begin` took.
fn decoded_start(decoded: &Decoded, text: &str, options: &[(&str, &str)]) -> usize {
    if options.contains(&("header", "true")) { text.len() - decoded.consumed } else { 0 }
}

#[test]
fn records() {
    check(
        &[],
        &abc(),
        "1,x,1.5\r\n 2 , y ,\n\n3,\"a,\"\"b\"\"\nc\",-1e3\n4,x\n5,x,1,1\nsix,x,1\n7,\"x\"y,1\n8,x\"y\"\"z,2\n,,\n9,#,0",
        expect![[r##"
            "1" "x" "1.5"
            "2" " y " "NULL"
            "3" "a,\"b\"\nc" "-1000.0"
            "8" "x\"y\"\"z" "2.0"
            "NULL" "" "NULL"
            "9" "#" "0.0"
            rejected "4,x" at 38: 2 fields where 3 are expected
            rejected "5,x,1,1" at 42: 4 fields where 3 are expected
            rejected "six,x,1" at 50: column a: "six" is not a value of type BIGINT
            rejected "7,\"x\"y,1" at 58: something stands between a closing quote and the next delimiter
        "##]],
    );
    check(
        &[],
        &abc(),
        "1,\"open,1\n2,x,2\n",
        expect![[r#"
        "2" "x" "2.0"
        rejected "1,\"open,1" at 0: a quote is not closed
    "#]],
    );
}

#[test]
fn delimiters_quotes_escapes_nulls_comments() {
    check(
        &[("field-delimiter", "\\t")],
        &abc(),
        "1\ta,b\t2\n",
        expect![[r#"
        "1" "a,b" "2.0"
    "#]],
    );
    check(
        &[("quote-character", "'")],
        &abc(),
        "1,'a,''b',2\n2,\"x\",3\n",
        expect![[r#"
        "1" "a,'b" "2.0"
        "2" "\"x\"" "3.0"
    "#]],
    );
    check(
        &[("disable-quote-character", "true")],
        &abc(),
        "1,\"a,2\n",
        expect![[r#"
        "1" "\"a" "2.0"
    "#]],
    );
    check(
        &[("escape-character", "\\")],
        &abc(),
        "1,a\\,b\\n\\\\,2\n2,\"x\\\"y\"\"z\\,\",3\n",
        expect![[r#"
        "1" "a,b\n\\" "2.0"
        "2" "x\"y\"z," "3.0"
    "#]],
    );
    check(
        &[("null-literal", "n/a")],
        &abc(),
        "n/a,n/a,n/a\n1,\"n/a\",2\n1,,2\n",
        expect![[r#"
        "NULL" "NULL" "NULL"
        "1" "n/a" "2.0"
        "1" "" "2.0"
    "#]],
    );
    check(
        &[("allow-comments", "true")],
        &abc(),
        "# a comment, with \" in it\n1,x,2\n#end",
        expect![[r#"
        "1" "x" "2.0"
    "#]],
    );
}

#[test]
fn headers_name_the_columns() {
    check(
        &[("header", "true")],
        &abc(),
        "c,skipped,\"b\",a\n1.5,?,x,7\n2,?,y\n",
        expect![[r#"
        "7" "x" "1.5"
        rejected "2,?,y" at 26: 3 fields where 4 are expected
    "#]],
    );
    let error = decode(&format(&[("header", "true")]), &abc(), &[0, 1], b"a,x\n1,2\n").expect_err("no column b");
    expect![[r#"
        bad record in in.csv at byte 0: the header has no column b
          record: a,x
          hint: with 'csv.header' = 'true' the first line names the columns as the table does"#]]
    .assert_eq(&error.to_string());
}

#[test]
fn nested_values() {
    let pair = Fields::from(vec![Field::new("x", DataType::Int32, true), Field::new("y", DataType::Utf8, true)]);
    let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
    let schema = schema(&[("list", list), ("row", DataType::Struct(pair))]);
    check(
        &[],
        &schema,
        "1;2;;3,1;a\n,\n\"\",;\n1;x,1\n4,1;2;3\n",
        expect![[r#"
        "[1, 2, NULL, 3]" "{x: 1, y: a}"
        "NULL" "NULL"
        "[]" "{x: NULL, y: }"
        rejected "1;x,1" at 18: column list: "x" is not a value of type INT
        rejected "4,1;2;3" at 24: column row: 3 parts where the ROW has 2 fields
    "#]],
    );
}

#[test]
fn times_and_bytes() {
    let schema = schema(&[
        ("ts", DataType::Timestamp(TimeUnit::Millisecond, None)),
        ("ltz", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("bytes", DataType::Binary),
        ("flag", DataType::Boolean),
    ]);
    check(
        &[],
        &schema,
        "2024-01-02 03:04:05.678,2024-01-02 03:04:05Z,AQI=,true\n2024-01-02T03:04:05,,,\n,2024-01-02 03:04:05,,\n,,?,\n,,,0\n",
        expect![[r#"
            "2024-01-02T03:04:05.678" "2024-01-02T03:04:05Z" "0102" "true"
            rejected "2024-01-02T03:04:05,,," at 55: column ts: "2024-01-02T03:04:05" is not a value of type TIMESTAMP(3), which looks like 2024-12-31 23:59:59.123
            rejected ",2024-01-02 03:04:05,," at 78: column ltz: "2024-01-02 03:04:05" is not a value of type TIMESTAMP_LTZ(3): a TIMESTAMP_LTZ ends in Z; declare the column as TIMESTAMP
            rejected ",,?," at 101: column bytes: not base64: Invalid symbol 63, offset 0.
            rejected ",,,0" at 106: column flag: "0" is not a value of type BOOLEAN
        "#]],
    );
}

#[test]
fn a_strict_decoder_says_where_and_what_to_do() {
    let error = decode(&format(&[]), &abc(), &[0, 1, 2], b"1,x,2\n1,y,z\n").expect_err("z is no number");
    expect![[r#"
        bad record in in.csv at byte 6: column c: "z" is not a value of type DOUBLE
          record: 1,y,z
          hint: correct the record, or set 'csv.ignore-parse-errors' = 'true' to leave bad records out and keep them in <table>$errors"#]].assert_eq(&error.to_string());
}

fn wide_schema() -> SchemaRef {
    // An ARRAY of one empty part could be empty or hold a NULL: the elements are NOT NULL.
    let item = Arc::new(Field::new("item", DataType::Int32, false));
    schema(&[
        ("text", DataType::Utf8),
        ("boolean", DataType::Boolean),
        ("big", DataType::Int64),
        ("float", DataType::Float32),
        ("double", DataType::Float64),
        ("decimal", DataType::Decimal128(20, 4)),
        ("date", DataType::Date32),
        ("time", DataType::Time32(TimeUnit::Millisecond)),
        ("ts", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("ltz", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))),
        ("list", DataType::List(item)),
        ("more", DataType::Utf8),
    ])
}

const OPTION_SETS: &[&[(&str, &str)]] = &[
    &[("null-literal", "NULL")],
    &[("null-literal", "")],
    &[("null-literal", "NULL"), ("field-delimiter", "\\t"), ("quote-character", "'"), ("allow-comments", "true")],
    &[("null-literal", "NULL"), ("escape-character", "\\"), ("header", "true")],
    &[("null-literal", "\\N"), ("disable-quote-character", "true"), ("escape-character", "^")],
];

fn encoded(format: &Format, rows: &RecordBatch) -> tidemill_engine::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut encoder = format.encoder(&rows.schema())?;
    encoder.header(&mut out);
    encoder.encode(rows, &mut out)?;
    Ok(out)
}

fn random_rows(random: &mut ChaCha8Rng, count: usize) -> RecordBatch {
    crate::format::test_rows::random_batch(&wide_schema(), count, random)
}

#[test]
fn what_is_encoded_decodes_to_the_same_rows() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let all: Vec<usize> = (0..wide_schema().fields().len()).collect();
    for round in 0..200 {
        let rows = random_rows(&mut random, round % 20);
        let options = OPTION_SETS[round % OPTION_SETS.len()];
        let text = encoded(&format(options), &rows).expect("these options can write everything");
        let decoded = decode(&format(options), &rows.schema(), &all, &text).expect("own output");
        assert_eq!(decoded.rows, rows, "{options:?}\n{}", String::from_utf8_lossy(&text));
        let projection: Vec<usize> = all.iter().copied().filter(|_| random.random_bool(0.3)).collect();
        let decoded = decode(&format(options), &rows.schema(), &projection, &text).expect("own output");
        assert_eq!(decoded.rows, rows.project(&projection).expect("in range"));
    }
}

#[test]
fn block_cuts_and_row_limits_change_nothing() {
    let schema = wide_schema();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    for options in OPTION_SETS {
        let options = [options, &[("ignore-parse-errors", "true")][..]].concat();
        let format = format(&options);
        let text = encoded(&format, &random_rows(&mut ChaCha8Rng::seed_from_u64(3), 6)).expect("writable");
        let text = [&text, b"\r\n1,2\n\"x\"y\n\xFF,\xFF\n'\"".as_slice()].concat();
        let whole = render(&decode(&format, &schema, &all, &text).expect("lenient"));
        for cut in 0..text.len() {
            let mut decoder = format.decoder(&schema, &all, Path::new("")).expect("decoder");
            let mut end = cut;
            let begin = decoder.begin(Block::lines(&text[..cut], 0, false)).expect("good header");
            let mut at = begin.unwrap_or_else(|| {
                end = text.len();
                let block = Block::lines(&text, 0, true);
                decoder.begin(block).expect("good header").expect("the file is whole")
            });
            let (mut rows, mut rejected) = (Vec::new(), Vec::new());
            while at < text.len() {
                let block = Block::lines(&text[at..end], at as u64, end == text.len());
                let decoded = decoder.decode(block, 1 + cut % 3).expect("lenient");
                if decoded.consumed == 0 {
                    assert!(end < text.len(), "the last block is always taken");
                    end = text.len();
                }
                at += decoded.consumed;
                rows.push(decoded.rows);
                rejected.extend(decoded.rejected);
            }
            let rows = arrow::compute::concat_batches(&schema, &rows).expect("same schema");
            assert_eq!(
                render(&Decoded { consumed: at, rows, kinds: None, rejected, messages: Vec::new() }),
                whole,
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn any_bytes_give_rows_or_rejected_records() {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let schema = abc();
    let pieces: &[&[u8]] = &[b",", b"\"", b"\n", b"\r\n", b"\r", b"1", b"x", b"\\", b"\xFF", b"#", b"\"\"", b" "];
    for _ in 0..20_000 {
        let text: Vec<u8> = (0..random.random_range(0..30))
            .flat_map(|_| pieces[random.random_range(0..pieces.len())].to_vec())
            .collect();
        let options = [OPTION_SETS[random.random_range(0..3)], &[("ignore-parse-errors", "true")]].concat();
        let decoded = decode(&format(&options), &schema, &[0, 1, 2], &text).expect("lenient");
        assert_eq!(decoded.consumed, text.len(), "{}", String::from_utf8_lossy(&text));
    }
}

#[test]
fn a_stray_quote_costs_its_line_and_no_more() {
    let mut text = String::from("1,\"stray,2\n");
    for row in 0..100 {
        text += &format!("{row},x,1\n");
    }
    let format = format(&[("ignore-parse-errors", "true")]);
    let decoded = decode(&format, &abc(), &[0, 1, 2], text.as_bytes()).expect("lenient");
    assert_eq!((decoded.rows.num_rows(), decoded.rejected.len()), (100, 1));
}

#[test]
fn options_are_checked() {
    let problems = |options: &[(&str, &str)]| {
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let problems = Format::parse("csv", &options).expect_err("bad options");
        problems.iter().map(|problem| format!("{problem}\n")).collect::<String>()
    };
    let found = problems(&[("csv.field-delimiter", "ab"), ("csv.header", "yes")]);
    expect![[r#"
        'csv.field-delimiter' = 'ab' is not valid
          hint: write one ASCII character, or an escape such as '\t' or U&'\0009'
        'csv.header' = 'yes' is not valid
          hint: write 'true' or 'false'
    "#]]
    .assert_eq(&found);
    let format = format(&[("quote-character", ",")]);
    let map =
        schema(&[("list", DataType::List(Arc::new(Field::new("item", abc().field(0).data_type().clone(), true))))]);
    assert_eq!(format.check(&map).len(), 1, "the quote is the delimiter");
}
