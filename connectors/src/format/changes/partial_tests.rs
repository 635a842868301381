//! Formats whose updates tell of an old row only what changed: Canal and Maxwell.

use expect_test::expect;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::tests::{check, decode, format, shown};

#[test]
fn maxwell_tells_what_was_different() {
    let text = r#"{"database":"d","table":"t","type":"insert","ts":1,"xid":2,"commit":true,"data":{"id":1,"name":"a"}}
{"type":"update","data":{"id":1,"name":"b"},"old":{"name":"a"}}
{"type":"update","data":{"id":1,"name":"c"},"old":{"name":null}}
{"type":"update","data":{"id":2,"name":"c"},"old":{"id":1}}
{"type":"update","data":{"id":2,"name":"c"},"old":{}}
{"type":"delete","data":{"id":2,"name":"c"}}
"#;
    check(
        &format("maxwell-json", &[]),
        text,
        expect![[r#"
        +I 1 a
        -U 1 a
        +U 1 b
        -U 1 NULL
        +U 1 c
        -U 1 c
        +U 2 c
        -U 2 c
        +U 2 c
        -D 2 c
    "#]],
    );
}

#[test]
fn canal_tells_several_rows_at_once() {
    let text = r#"{"data":null,"database":"d","isDdl":true,"sql":"CREATE TABLE ...","table":"t","type":"CREATE"}
{"data":[{"id":"1","name":"a"},{"id":"2","name":"b"}],"database":"d","old":null,"pkNames":["id"],"table":"t","type":"INSERT"}
{"data":[{"id":1,"name":"A"},{"id":2,"name":null}],"database":"d","old":[{"name":"a"},{"name":"b"}],"table":"t","type":"UPDATE"}
{"data":[{"id":2,"name":null}],"database":"other","old":null,"table":"t","type":"DELETE"}
"#;
    check(
        &format("canal-json", &[]),
        text,
        expect![[r#"
        +I 1 a
        +I 2 b
        -U 1 a
        +U 1 A
        -U 2 b
        +U 2 NULL
        -D 2 NULL
    "#]],
    );
    let some = [("canal-json.database.include", "d|e"), ("canal-json.table.include", "t.*")];
    check(
        &format("canal-json", &some),
        text,
        expect![[r#"
        +I 1 a
        +I 2 b
        -U 1 a
        +U 1 A
        -U 2 b
        +U 2 NULL
    "#]],
    );
}

#[test]
fn bad_records_say_what_they_lack() {
    let lenient = format("maxwell-json", &[("maxwell-json.ignore-parse-errors", "true")]);
    let text = r#"{"type":"insert","data":{"id":1,"name":"a"}}
{"type":"table-create","data":{"id":2}}
{"data":{"id":2}}
{"type":"update","data":{"id":2}}
{"type":"update","old":{"id":2}}
{"type":"update","data":{"id":2},"old":[1]}
{"type":"update","data":{"id":2},"old":{"id":"x"}}
{"type":"update","data":{"id":2},"old":{"id":null}}
{"type":"insert","data":{"name":"a"}}
{"type":"insert","data":{"id":4}}
"#;
    check(
        &lenient,
        text,
        expect![[r#"
            +I 1 a
            +I 4 NULL
            bad at 45: type "table-create" is none of insert, update and delete
            bad at 85: the record has no "type"
            bad at 103: the record has no "old", which an update needs
            bad at 137: the record has no "data", which type "update" needs
            bad at 170: column old: not JSON: '[' stands at character 1 where a JSON object should be
            bad at 214: column old: column id: "x" is not a value of type BIGINT
            bad at 265: column id: NULL in a NOT NULL column
            bad at 317: column id: NULL in a NOT NULL column
        "#]],
    );
    let lenient = format("canal-json", &[("canal-json.ignore-parse-errors", "true")]);
    check(
        &lenient,
        "{\"type\":\"INSERT\"}\n{\"type\":\"ALTER\",\"data\":[]}\n{\"type\":\"UPDATE\",\"data\":[{\"id\":1}],\"old\":[]}\n{\"type\":\"INSERT\",\"data\":[null]}\n",
        expect![[r#"
            bad at 0: the record has no "data", which type "INSERT" needs
            bad at 18: type "ALTER" is none of INSERT, UPDATE, DELETE and CREATE
            bad at 45: "old" has 0 rows and "data" 1
            bad at 90: a row of "data" is null
        "#]],
    );
}

#[test]
fn a_bad_record_fails_the_job_with_its_place() {
    let text = "{\"type\":\"insert\",\"data\":{\"id\":1}}\n{\"type\":\"update\",\"data\":{\"id\":2}}\n";
    let error = decode(&format("maxwell-json", &[]), &[0, 1], text, 100).expect_err("no old");
    expect![[r#"
        bad record in f.json at byte 34: the record has no "old", which an update needs
          record: {"type":"update","data":{"id":2}}
          hint: correct the record, or set 'maxwell-json.ignore-parse-errors' = 'true' to leave bad records out and keep them in <table>$errors"#]].assert_eq(&error.to_string());
}

#[test]
fn patterns_are_checked() {
    let options = [("canal-json.table.include".to_string(), "t(".to_string())].into_iter().collect();
    let problems = crate::format::Format::parse("canal-json", &options).expect_err("no pattern");
    expect![[r#"
        'canal-json.table.include' = 't(' is not valid
          hint: write a regular expression, such as 'orders_.*'"#]]
    .assert_eq(&problems[0].to_string());
}

/// A row as the naive twin has it.
type Row = (i64, Option<String>);

fn object(row: &Row, without: Option<&Row>) -> String {
    let id = (without.is_none_or(|other| other.0 != row.0)).then(|| format!("\"id\":{}", row.0));
    let name = row.1.as_ref().map_or("null".to_string(), |name| format!("{name:?}"));
    let name = (without.is_none_or(|other| other.1 != row.1)).then(|| format!("\"name\":{name}"));
    format!("{{{}}}", id.into_iter().chain(name).collect::<Vec<_>>().join(","))
}

fn line(symbol: &str, row: &Row) -> String {
    format!("{symbol} {} {}\n", row.0, row.1.as_deref().unwrap_or("NULL"))
}

#[test]
fn old_rows_are_whole_again() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let row = |rng: &mut ChaCha8Rng| -> Row {
        (rng.random_range(0..4), rng.random_bool(0.7).then(|| format!("n{}", rng.random_range(0..3))))
    };
    for _ in 0..60 {
        let (mut maxwell, mut canal, mut expected) = (String::new(), String::new(), String::new());
        for _ in 0..rng.random_range(1..30) {
            let (old, new) = (row(&mut rng), row(&mut rng));
            let (data, told) = (object(&new, None), object(&old, Some(&new)));
            let (kind, rows) = match rng.random_range(0..3) {
                0 => ("insert", line("+I", &new)),
                1 => ("delete", line("-D", &new)),
                _ => ("update", line("-U", &old) + &line("+U", &new)),
            };
            maxwell += &format!("{{\"type\":\"{kind}\",\"old\":{told},\"data\":{data}}}\n");
            let kind = kind.to_uppercase();
            canal += &format!("{{\"old\":[{told},{told}],\"data\":[{data},{data}],\"type\":\"{kind}\"}}\n");
            expected += &rows;
        }
        let rows_max = rng.random_range(1..20);
        let decoded =
            |name: &str, text: &str| shown(decode(&format(name, &[]), &[0, 1], text, rows_max).expect("good"));
        assert_eq!(decoded("maxwell-json", &maxwell), expected);
        let twice: usize = decoded("canal-json", &canal).lines().count();
        assert_eq!(twice, 2 * expected.lines().count());
    }
}
