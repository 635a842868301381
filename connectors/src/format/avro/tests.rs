//! Avro with and without a schema registry, which the tests play themselves.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use expect_test::{Expect, expect};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::format::test_rows::random_batch;
use crate::format::{Block, Format, Messages};

fn format(name: &str, options: &[(&str, &str)]) -> Format {
    let options = options.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Format::parse(name, &options).unwrap().with_default_subject("orders-value".into())
}

fn schema(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    Arc::new(Schema::new(
        fields.iter().map(|(name, of, nullable)| Field::new(*name, of.clone(), *nullable)).collect::<Vec<_>>(),
    ))
}

fn all_types() -> SchemaRef {
    let list = |element| DataType::List(Arc::new(Field::new("item", element, true)));
    let entries = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", DataType::Int64, true)];
    let entries = Field::new("entries", DataType::Struct(entries.into()), false);
    let row = vec![Field::new("x", DataType::Int16, true), Field::new("y", list(DataType::Utf8), false)];
    schema(&[
        ("a", DataType::Boolean, true),
        ("b", DataType::Int8, true),
        ("c", DataType::Int16, false),
        ("d", DataType::Int32, true),
        ("e", DataType::Int64, false),
        ("f", DataType::Float32, true),
        ("g", DataType::Float64, true),
        ("h", DataType::Utf8, true),
        ("i", DataType::Binary, true),
        ("j", DataType::Date32, true),
        ("k", DataType::Time32(TimeUnit::Millisecond), true),
        ("l", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        ("m", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        ("n", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), true),
        ("o", DataType::Decimal128(10, 3), true),
        ("p", DataType::Decimal128(38, 0), false),
        ("q", list(DataType::Int32), true),
        ("r", DataType::Map(Arc::new(entries), false), true),
        ("s", DataType::Struct(row.into()), true),
        ("t", list(list(DataType::Utf8)), true),
    ])
}

/// Of each message its bytes.
fn encode(format: &Format, rows: &RecordBatch) -> Vec<Vec<u8>> {
    let mut messages = Messages::default();
    format.encoder(&rows.schema()).unwrap().encode_messages(rows, None, &mut messages).unwrap();
    messages.iter().map(|message| message.expect("every row is a record").to_vec()).collect()
}

/// The rows, and the reasons of bad records.
fn decode(
    format: &Format,
    table: &SchemaRef,
    projection: &[usize],
    messages: &[Vec<u8>],
) -> tidemill_engine::Result<(RecordBatch, Vec<u32>, Vec<String>)> {
    let mut ends = Vec::new();
    messages.iter().fold(0, |at, message| {
        ends.push(at + message.len());
        at + message.len()
    });
    let bytes = messages.concat();
    let mut decoder = format.decoder(table, projection, Path::new("topic 'orders'"))?;
    let decoded = decoder.decode(Block::messages(&bytes, &ends), usize::MAX)?;
    assert_eq!(decoded.consumed, bytes.len());
    let reasons = decoded.rejected.iter().map(|rejected| format!("{}: {}", rejected.offset, rejected.reason));
    Ok((decoded.rows, decoded.messages, reasons.collect()))
}

#[test]
fn rows_of_all_types_come_back() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let format = format("avro", &[("avro.timestamp_mapping.legacy", "false")]);
    let schema = all_types();
    assert_eq!(format.check(&schema), []);
    for count in [0, 1, 7, 9000] {
        let rows = random_batch(&schema, count, &mut random);
        let messages = encode(&format, &rows);
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let (back, of, rejected) = decode(&format, &schema, &all, &messages).unwrap();
        assert_eq!((back, of, rejected), (rows.clone(), (0..count as u32).collect(), Vec::new()));
        let some = [19, 3, 7];
        let (back, ..) = decode(&format, &schema, &some, &messages).unwrap();
        assert_eq!(back, rows.project(&some).unwrap());
        let (back, ..) = decode(&format, &schema, &[], &messages).unwrap();
        assert_eq!((back.num_rows(), back.num_columns()), (count, 0));
    }
}

#[test]
fn bad_records_change_only_themselves() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let lenient = format("avro", &[("avro.timestamp_mapping.legacy", "false"), ("avro.ignore-parse-errors", "true")]);
    let schema = all_types();
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    for _ in 0..20 {
        let rows = random_batch(&schema, 12, &mut random);
        let mut messages = encode(&lenient, &rows);
        let bad = random.random_range(0..12);
        match random.random_range(0..3) {
            0 => messages[bad].clear(),
            1 => drop(messages[bad].pop()),
            _ => messages[bad].push(9),
        }
        let (back, of, rejected) = decode(&lenient, &schema, &all, &messages).unwrap();
        let good: Vec<u32> = (0..12).filter(|row| *row != bad as u32).collect();
        let expected = arrow::compute::take_record_batch(&rows, &UInt32Array::from(good.clone())).unwrap();
        assert_eq!((back, of, rejected.len()), (expected, good, 1));
        let strict = format("avro", &[("avro.timestamp_mapping.legacy", "false")]);
        let error = decode(&strict, &schema, &all, &messages).unwrap_err().to_string();
        assert!(error.contains("'avro.ignore-parse-errors' = 'true'"), "{error}");
    }
}

#[test]
fn columns_have_the_types_that_flink_gives_them() {
    let table = schema(&[
        ("id", DataType::Int64, false),
        ("name", DataType::Utf8, true),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        ("price", DataType::Decimal128(10, 2), false),
        ("inner", DataType::Struct(vec![Field::new("x", DataType::Int8, true)].into()), true),
    ]);
    expect![[r#"{"type":"record","name":"record","namespace":"org.apache.flink.avro.generated","fields":[{"name":"id","type":"long"},{"name":"name","type":["null","string"],"default":null},{"name":"at","type":["null",{"type":"long","logicalType":"timestamp-millis"}],"default":null},{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},{"name":"inner","type":["null",{"type":"record","name":"record_inner","fields":[{"name":"x","type":["null","int"],"default":null}]}],"default":null}]}"#]]
    .assert_eq(&super::schema::avro_schema(&table, true).to_string());
}

fn refused(of: DataType, options: &[(&str, &str)], expected: Expect) {
    let problems = format("avro", options).check(&schema(&[("x", of, true)]));
    expected.assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn columns_without_a_form_are_refused_with_what_to_write() {
    let new = [("avro.timestamp_mapping.legacy", "false")];
    refused(
        DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
        &[],
        expect![[r#"
            column x: Avro has no form for TIMESTAMP_LTZ(3) as long as 'avro.timestamp_mapping.legacy' is 'true'
              hint: set 'avro.timestamp_mapping.legacy' = 'false'"#]],
    );
    refused(
        DataType::Timestamp(TimeUnit::Microsecond, None),
        &[],
        expect![[r#"
            column x: Avro has no form for TIMESTAMP(6) as long as 'avro.timestamp_mapping.legacy' is 'true'
              hint: declare TIMESTAMP(3), or set 'avro.timestamp_mapping.legacy' = 'false'"#]],
    );
    refused(
        DataType::Timestamp(TimeUnit::Nanosecond, None),
        &new,
        expect![[r#"
            column x: Avro has no form for TIMESTAMP(9)
              hint: declare at most 6 digits of a second"#]],
    );
}

/// A registry in memory that speaks the part of the interface that is used. Answers are closed one by one.
struct FakeRegistry {
    url: String,
    schemas: Arc<Mutex<Vec<(String, String)>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeRegistry {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let registry = Self { url, schemas: Arc::default(), requests: Arc::default() };
        let (schemas, requests) = (Arc::clone(&registry.schemas), Arc::clone(&registry.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &schemas, &requests);
            }
        });
        registry
    }

    /// The number of a schema that somebody else wrote with.
    fn add(&self, schema: &Value) -> u32 {
        let mut schemas = self.schemas.lock();
        schemas.push(("elsewhere".into(), schema.to_string()));
        schemas.len() as u32
    }

    fn format(&self, options: &[(&str, &str)]) -> Format {
        let url = [("avro-confluent.url", self.url.as_str())];
        format("avro-confluent", &url.iter().chain(options).copied().collect::<Vec<_>>())
    }
}

fn serve(mut stream: TcpStream, schemas: &Mutex<Vec<(String, String)>>, requests: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut request, mut length, mut access) = (String::new(), 0, String::new());
    reader.read_line(&mut request).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => access = format!(" {value}"),
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    requests.lock().push(format!("{}{access}", request.trim_end().trim_end_matches(" HTTP/1.1")));
    let path = request.split(' ').nth(1).unwrap();
    let mut schemas = schemas.lock();
    let (status, answer) = match path.strip_prefix("/schemas/ids/") {
        Some(id) => match schemas.get(id.parse::<usize>().unwrap() - 1) {
            Some((_, schema)) => (200, json!({"schema": schema})),
            None => (404, json!({"error_code": 40403, "message": "Schema not found"})),
        },
        None => {
            let subject = path.strip_prefix("/subjects/").unwrap().strip_suffix("/versions").unwrap().to_string();
            let schema: Value = serde_json::from_slice(&body).unwrap();
            let entry = (subject, schema["schema"].as_str().unwrap().to_string());
            let known = schemas.iter().position(|known| *known == entry);
            let index = known.unwrap_or_else(|| {
                schemas.push(entry);
                schemas.len() - 1
            });
            (200, json!({"id": index + 1}))
        }
    };
    let answer = answer.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
    stream.write_all((head + &answer).as_bytes()).unwrap();
}

#[test]
fn a_registry_gives_numbers_and_schemas() {
    let registry = FakeRegistry::start();
    let format = registry.format(&[("avro-confluent.basic-auth.user-info", "ann:pw")]);
    let table = schema(&[("id", DataType::Int64, false), ("name", DataType::Utf8, true)]);
    let rows = random_batch(&table, 20, &mut ChaCha8Rng::seed_from_u64(7));
    let messages = encode(&format, &rows);
    assert!(messages.iter().all(|message| message.starts_with(&[0, 0, 0, 0, 1])));
    let (back, ..) = decode(&format, &table, &[0, 1], &messages).unwrap();
    assert_eq!(back, rows);
    // Once for each: schemas never change under their number.
    decode(&format, &table, &[1], &messages).unwrap();
    expect![[r#"
        POST /subjects/orders-value/versions Basic YW5uOnB3
        GET /schemas/ids/1 Basic YW5uOnB3"#]]
    .assert_eq(&registry.requests.lock().join("\n"));
    assert!(!format!("{format:?}").contains("pw"));
}

#[test]
fn records_of_older_and_newer_schemas_are_rows_of_the_table() {
    let registry = FakeRegistry::start();
    let record = |fields: Value| json!({"type": "record", "name": "order", "fields": fields});
    let old = registry.add(&record(json!([{"name": "id", "type": "int"}])));
    let new = registry.add(&record(json!([
        {"name": "comment", "type": ["null", "string"]},
        {"name": "kind", "type": {"type": "enum", "name": "kinds", "symbols": ["A", "B"]}},
        {"name": "id", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ])));
    let table = schema(&[
        ("id", DataType::Int64, false),
        ("kind", DataType::Utf8, true),
        ("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
    ]);
    let framed = |id: u32, record: &[u8]| [&[0][..], &id.to_be_bytes(), record].concat();
    // Zigzag: 3 is 6, 2000 microseconds are A0 1F; branch 1 of the union holds "x".
    let messages = vec![
        framed(old, &[6]),
        framed(new, &[2, 2, b'x', 2, 6, 0xA0, 0x1F]),
        framed(old, &[8]),
        framed(99, &[8]),
        b"{}".to_vec(),
        framed(new, &[0, 0, 10, 0xA0, 0x1F]),
    ];
    let lenient = registry.format(&[("avro-confluent.ignore-parse-errors", "true")]);
    let (rows, of, rejected) = decode(&lenient, &table, &[0, 1, 2], &messages).unwrap();
    expect![[r#"
        +----+------+-------------------------+
        | id | kind | at                      |
        +----+------+-------------------------+
        | 3  |      |                         |
        | 3  | B    | 1970-01-01T00:00:00.002 |
        | 4  |      |                         |
        | 5  | A    | 1970-01-01T00:00:00.002 |
        +----+------+-------------------------+"#]]
    .assert_eq(&arrow::util::pretty::pretty_format_batches(&[rows]).unwrap().to_string());
    assert_eq!(of, [0, 1, 2, 5]);
    expect![[r#"
        24: the schema registry knows no schema 99
        30: it does not begin with a zero and the number of a schema"#]]
    .assert_eq(&rejected.join("\n"));
}

#[test]
fn what_does_not_fit_is_refused_with_the_column() {
    let registry = FakeRegistry::start();
    let id = registry.add(&json!({"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}, {"name": "t", "type": "string"}]}));
    let framed = |record: &[u8]| vec![[&[0][..], &id.to_be_bytes(), record].concat()];
    let message = framed(&[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 2, b'x']);
    let fails = |table: SchemaRef, expected: Expect| {
        let all: Vec<usize> = (0..table.fields().len()).collect();
        let error = decode(&registry.format(&[]), &table, &all, &message).unwrap_err();
        expected.assert_eq(&error.to_string());
    };
    fails(
        schema(&[("id", DataType::Int32, true)]),
        expect![
            "records of Avro schema 1 cannot be read: column id: Cast error: Can't cast value 274877906943 to type Int32"
        ],
    );
    fails(
        schema(&[("t", DataType::Int32, true)]),
        expect!["records of Avro schema 1 cannot be read: column t: STRING cannot be read as INT"],
    );
    fails(
        schema(&[("gone", DataType::Int32, false)]),
        expect![
            "records of Avro schema 1 cannot be read: column gone is NOT NULL, but the schema of the record lacks it"
        ],
    );
}

#[test]
fn batches_are_cut_nowhere_a_reader_could_see() {
    let format = format("avro", &[]);
    let table = schema(&[("id", DataType::Int64, false)]);
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let parts: Vec<RecordBatch> = (0..3).map(|_| random_batch(&table, 8192, &mut random)).collect();
    let rows = concat_batches(&table, &parts).unwrap();
    let (back, ..) = decode(&format, &table, &[0], &encode(&format, &rows)).unwrap();
    assert_eq!(back, rows);
}
