//! SQL that is wrong, deep, wide or long.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::super::kit::copying_job;
use super::bodies::send;
use super::wire::Shot;

const TABLE: &str = "CREATE TABLE t (a INT, s STRING) WITH ('connector' = 'datagen', 'number-of-rows' = '3');\n";
/// Levels far beyond what any stack holds.
const DEEP: usize = 30_000;

fn around(open: &str, middle: &str, close: &str) -> String {
    format!("{}{middle}{}", open.repeat(DEEP), close.repeat(DEEP))
}

/// Texts that each run plans.
fn texts() -> Vec<String> {
    let columns = |count: usize| (0..count).map(|i| format!("a AS c{i}")).collect::<Vec<_>>().join(",");
    vec![
        format!("SELECT {} FROM t", around("(", "1", ")")),
        format!("SELECT {} FROM t", around("ARRAY[", "1", "]")),
        format!("SELECT {} FROM t", around("ABS(", "a", ")")),
        format!("SELECT {} FROM t", around("CASE WHEN a > 1 THEN ", "a", " END")),
        format!("SELECT {} FROM t", around("CAST(", "a", " AS INT)")),
        format!("SELECT {}a FROM t", "- ".repeat(DEEP)),
        format!("SELECT {}a FROM t", "-(".repeat(DEEP)),
        format!("SELECT {}TRUE FROM t", "NOT ".repeat(DEEP)),
        format!("SELECT a{} FROM t", " + a".repeat(DEEP)),
        format!("SELECT s{} FROM t", " || s".repeat(DEEP)),
        format!("SELECT a FROM t WHERE a = 1{}", " OR a = 1".repeat(DEEP)),
        format!("SELECT s{} FROM t", "[1]".repeat(DEEP)),
        format!("SELECT s{} FROM t", ".x".repeat(DEEP)),
        format!("SELECT a FROM {}t{}", "(SELECT a FROM ".repeat(DEEP), ")".repeat(DEEP)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(DEEP)),
        format!("SELECT 1 FROM t{}", " JOIN t ON TRUE".repeat(DEEP)),
        format!("SELECT 1 FROM t{}", ", t".repeat(DEEP)),
        format!("CREATE TABLE u (c {}) WITH ('connector' = 'datagen')", around("ROW<x ", "INT", ">")),
        format!("CREATE TABLE u (c {}) WITH ('connector' = 'datagen')", around("MAP<INT, ", "INT", ">")),
        format!("CREATE TABLE u (c {}) WITH ('connector' = 'datagen')", around("ARRAY<", "INT", ">")),
        format!("CREATE TABLE u (c {}INT) WITH ('connector' = 'datagen')", "MULTISET<".repeat(DEEP)),
        format!("{} SELECT 1", "/* ".repeat(DEEP)),
        format!("SELECT {}", "'".repeat(DEEP + 1)),
        format!("SELECT {}", "`".repeat(DEEP + 1)),
        format!("SELECT {} FROM t", columns(5_000)),
        format!("CREATE TABLE u ({}) WITH ('connector' = 'datagen')", "c INT,".repeat(5_000)),
        "EXECUTE STATEMENT SET BEGIN ".repeat(1_000),
        "SELECT REPEAT('x', 2000000000) FROM t".into(),
        "SELECT REPEAT(REPEAT('x', 60000), 60000) FROM t".into(),
        "SELECT LPAD('x', 2000000000, 'y'), RPAD('x', 2147483647, 'y') FROM t".into(),
        "SELECT ARRAY_REPEAT(1, 2000000000) FROM t".into(),
        "SELECT RANGE(0, 9000000000000000000) FROM t".into(),
        "SELECT GENERATE_SERIES(0, 2000000000, 1) FROM t".into(),
        "SELECT a FROM t WHERE REGEXP(s, '(((((a{1,100}){1,100}){1,100}){1,100}){1,100})')".into(),
        "SELECT CAST(1e308 * 10 AS DECIMAL(38, 38)), 1 / 0, -9223372036854775808 / -1 FROM t".into(),
        "SELECT 99999999999999999999999999999999999999999999999999, 1e99999 FROM t".into(),
        "SELECT TIMESTAMP '999999-99-99 99:99:99', DATE '0000-00-00', INTERVAL '99999999999' YEAR FROM t".into(),
        "SELECT \u{0} FROM t\u{0}; SELECT '\u{202e}' FROM `\u{1f600}`".into(),
        "SELECT JSON_VALUE(s, '$".to_string() + &".a".repeat(DEEP) + "') FROM t",
        "SET '".to_string() + &"x".repeat(100_000) + "' = 'y'",
        "SELECT ".repeat(5_000),
        ")".repeat(5_000),
    ]
}

pub fn listed(token: &str) -> Vec<Shot> {
    let shot = |text: &String| {
        let sql = (TABLE.to_string() + text).into_bytes();
        send("deep, wide or long SQL", "POST", "/api/v1/sql/validate", "application/sql", sql, token)
    };
    let mut shots: Vec<Shot> = texts().iter().map(shot).collect();
    let not_utf8 = b"SELECT '\xff\xfe\xc0\xaf'".to_vec();
    shots.push(send("SQL that is not UTF-8", "POST", "/api/v1/sql/explain", "application/sql", not_utf8, token));
    let deep = format!("{{\"sql\":{}", "[".repeat(1_500_000)).into_bytes();
    shots.push(send("deep JSON", "POST", "/api/v1/sql/explain", "application/json", deep, token));
    shots
}

/// Good SQL with some of its words and characters changed.
pub fn any(token: &str, rng: &mut ChaCha8Rng) -> Shot {
    let all = texts();
    let good = copying_job("victim");
    let text = if rng.random_bool(0.7) { good.as_str() } else { &all[rng.random_range(30..all.len())] };
    let mut words: Vec<&str> = text.split_inclusive([' ', '\n']).collect();
    for _ in 0..rng.random_range(0..4) {
        let (one, other) = (rng.random_range(0..words.len()), rng.random_range(0..words.len()));
        match rng.random_range(0..4) {
            0 => words.swap(one, other),
            1 => drop(words.remove(one)),
            2 => words.insert(one, ["(", ")", "'", ";", "NULL ", "SELECT ", "\u{e4} ", "*", "1e9 ", "-- "][other % 10]),
            _ => words.insert(one, words[other]),
        }
        if words.is_empty() {
            break;
        }
    }
    let path = ["/api/v1/sql/validate", "/api/v1/sql/explain"][rng.random_range(0..2)];
    send("changed SQL", "POST", path, "application/sql", words.concat().into_bytes(), token)
}
