//! Damaged statements through the whole front end: each gives a plan, an answer or a diagnostic, never a panic.

use super::{BIDS, run, session};
use crate::Diagnostic;
use crate::parser::parse_script;
use crate::parser::statement::{Statement, StatementKind};
use crate::parser::tests::mutation::{Random, mutate};
use crate::plan::{Output, plan_job};
use crate::session::Session;

const TABLES: &str = "
CREATE TABLE t (a INT, b BIGINT, s STRING, d DOUBLE, dec DECIMAL(10, 2), ok BOOLEAN, ts TIMESTAMP(3), pt AS PROCTIME(), arr ARRAY<INT>,
  m MAP<STRING, INT>, r ROW<x INT, y ROW<z STRING>>, rows ARRAY<ROW<k STRING, v INT>>, dt DATE, tm TIME, ltz TIMESTAMP_LTZ(3), bin BYTES,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'fake');
CREATE TABLE sink (a BIGINT, s STRING, w TIMESTAMP(3)) WITH ('connector' = 'fake');
CREATE VIEW v AS SELECT a, s, ts FROM t WHERE a > 1;";

const STATEMENTS: &[&str] = &[
    "SELECT a + b * 2, s || 'x', CAST(d AS INT), TRY_CAST(s AS DECIMAL(5, 1)), CASE WHEN ok THEN a ELSE b END, r.y.z, arr[1], m['k'] FROM t WHERE NOT ok OR a IN (1, 2) AND s LIKE 'a%'",
    "SELECT window_start, window_end, s, COUNT(*), SUM(b), AVG(DISTINCT d), MAX(ts) FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' MINUTES)) GROUP BY window_start, window_end, s HAVING COUNT(*) > 1",
    "INSERT INTO sink SELECT COUNT(a) FILTER (WHERE b > 1), s, window_time FROM HOP(TABLE v, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, window_time, s",
    "SELECT s, SESSION_START(ts, INTERVAL '1' HOUR), LISTAGG(s, ','), FIRST_VALUE(a) FROM t GROUP BY s, SESSION(ts, INTERVAL '1' HOUR)",
    "SELECT k, x, SUM(v) FROM t CROSS JOIN UNNEST(rows) AS u (k, v) LEFT JOIN UNNEST(arr) WITH ORDINALITY AS w (x, n) ON TRUE GROUP BY k, x",
    "WITH q AS (SELECT a, CUMULATE_COUNT FROM (SELECT a, COUNT(*) AS CUMULATE_COUNT FROM t GROUP BY a)) SELECT * FROM q UNION ALL SELECT b, 1 FROM t UNION ALL VALUES (1, 2)",
    "SELECT window_start, a, s, COUNT(*), GROUPING(a) FROM CUMULATE(TABLE t, DESCRIPTOR(pt), INTERVAL '1' MINUTE, INTERVAL '1' HOUR) GROUP BY window_start, window_end, ROLLUP (a, s)",
    "EXECUTE STATEMENT SET BEGIN INSERT INTO sink (a, s) SELECT b, s FROM t; INSERT INTO sink SELECT a, s, ts FROM `t$late`; END",
    "EXPLAIN CHANGELOG_MODE SELECT DISTINCT s, dt, EXTRACT(YEAR FROM ts), FLOOR(ts TO HOUR), TIMESTAMPDIFF(DAY, ts, CURRENT_TIMESTAMP), JSON_VALUE(s, '$.a' RETURNING INT), MAP['a', 1], ROW(1, 'x'), ARRAY[1, 2] FROM t",
    "SELECT COALESCE(s, 'x'), UPPER(s), ABS(a), ROUND(d, 2), SUBSTRING(s FROM 2 FOR 3), DATE_FORMAT(ts, 'yyyy'), TO_TIMESTAMP(s), ltz, bin, tm FROM t ORDER BY ts LIMIT 3",
    "CREATE VIEW v2 (x, y) AS SELECT a, SUM(b) OVER (PARTITION BY s ORDER BY ts) FROM t",
    "CREATE TABLE t2 (c AS a + 1, WATERMARK FOR ts AS ts) WITH ('connector' = 'fake') LIKE t (EXCLUDING WATERMARKS)",
    "SELECT a.s FROM t a JOIN v b ON a.a = b.a WHERE EXISTS (SELECT 1 FROM t) AND a.b > (SELECT MAX(b) FROM t)",
    "SELECT a, COUNT(*) FROM t, LATERAL (SELECT a AS z) AS l GROUP BY GROUPING SETS ((a), ()), CUBE (s, b)",
];

/// Plans or carries out one statement, as the program does.
fn carry_out(session: &mut Session, statement: &Statement) -> Result<(), Diagnostic> {
    let outputs: Vec<Output<'_>> = match &statement.kind {
        StatementKind::Query(query) => vec![Output::Print(query)],
        StatementKind::Insert(insert) => vec![Output::Insert(insert)],
        StatementKind::StatementSet(inserts) => inserts.iter().map(Output::Insert).collect(),
        _ => return session.execute(statement).map(|_| ()),
    };
    plan_job(&session.context(), &outputs).map(|_| ())
}

fn try_script(session: &mut Session, script: &str) {
    let Ok(statements) = parse_script(script) else { return };
    for statement in &statements {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| carry_out(session, statement)));
        let Ok(outcome) = outcome else { panic!("panicked at\n{script}") };
        if let Err(error) = outcome {
            assert!(!error.message.contains("internal error"), "{error}\n{script}");
        }
    }
}

#[test]
fn the_statements_themselves() {
    for text in STATEMENTS {
        let mut session = session();
        run(&mut session, TABLES);
        try_script(&mut session, text);
    }
}

#[test]
fn damaged_statements_never_panic() {
    /// Rounds of this test; planning is slow without optimisation.
    const ROUNDS: usize = 700;
    let rounds = std::env::var("TIDEMILL_FUZZ_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(ROUNDS);
    let mut random = Random(7);
    for round in 0..rounds {
        let mut session = session();
        run(&mut session, TABLES);
        run(&mut session, BIDS);
        let text = mutate(STATEMENTS[round % STATEMENTS.len()], &mut random);
        try_script(&mut session, &text);
    }
}

#[test]
fn deep_expressions_are_planned_within_the_stack() {
    let mut session = session();
    run(&mut session, TABLES);
    for text in [
        format!("SELECT a{} FROM t", " + 1".repeat(290)),
        format!("SELECT a FROM t WHERE a = 0{}", " OR a = 1".repeat(240)),
        format!("SELECT {}a{} FROM t", "(1 + ".repeat(60), ")".repeat(60)),
        format!("SELECT a FROM t{}", " UNION ALL SELECT a FROM t".repeat(280)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(40), ")".repeat(40)),
        format!("SELECT {}s{} FROM t", "UPPER(".repeat(60), ")".repeat(60)),
        format!("SELECT s{} FROM t", " || s".repeat(290)),
        format!("SELECT CASE {} END FROM t", "WHEN a = 1 THEN 2 ".repeat(2000)),
        format!("SELECT * FROM t WHERE a IN ({})", vec!["1"; 5000].join(", ")),
    ] {
        try_script(&mut session, &text);
    }
}
