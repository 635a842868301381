//! Scripts without jobs and what a session answers.

use std::sync::Arc;

use arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use expect_test::{Expect, ExpectFile, expect, expect_file};
use tidemill_engine::EngineError;
use tidemill_engine::graph::ChangelogMode;
use tidemill_engine::sink::{Committer, Guarantee, Sink, SinkWriter, WriterContext};
use tidemill_engine::source::{Boundedness, Position, Source, Split, SplitReader};

use super::{Outcome, Session};
use crate::catalog::{Column, Connectors, OptionProblem, TableDefinition, Usage};
use crate::parser::parse_script;
use crate::settings::Settings;

mod damaged;
mod flink_scripts;

/// A connector `fake` with the option `path`; nothing can be read or written.
struct FakeConnectors;

impl Connectors for FakeConnectors {
    fn check(&self, table: &TableDefinition, _: Usage) -> Result<(), Vec<OptionProblem>> {
        let wrong = table.options.keys().find(|key| !["connector", "path"].contains(&key.as_str()));
        let problem = |key: &String| OptionProblem {
            option: Some(key.clone()),
            message: format!("unknown option '{key}'"),
            hint: Some("did you mean 'path'?".into()),
        };
        wrong.map_or(Ok(()), |key| Err(vec![problem(key)]))
    }

    fn source(&self, table: &TableDefinition, columns: &[String], _: &str) -> Result<Arc<dyn Source>, OptionProblem> {
        let read = table.columns.iter().filter(|column| columns.contains(&column.name));
        Ok(Arc::new(FakeSource(Arc::new(Schema::new(read.map(Column::field).collect::<Fields>())))))
    }

    fn sink(&self, _: &TableDefinition, _: SchemaRef, _: &str) -> Result<Arc<dyn Sink>, OptionProblem> {
        Ok(Arc::new(FakeSink))
    }

    fn sink_accepts(&self, _: &TableDefinition) -> ChangelogMode {
        ChangelogMode::Append
    }

    fn print_sink(&self, _: SchemaRef, _: ChangelogMode) -> Arc<dyn Sink> {
        Arc::new(FakeSink)
    }

    fn metadata(&self, _: &TableDefinition) -> Vec<(String, DataType)> {
        vec![]
    }
}

#[derive(Debug)]
struct FakeSource(SchemaRef);

impl Source for FakeSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0)
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn discover(&self) -> tidemill_engine::Result<Vec<Split>> {
        Ok(vec![])
    }

    fn open(&self, _: &Split, _: Option<&Position>) -> tidemill_engine::Result<Box<dyn SplitReader>> {
        Err(EngineError::Unsupported("no test here runs a job".into()))
    }
}

#[derive(Debug)]
struct FakeSink;

impl Sink for FakeSink {
    fn accepts(&self) -> ChangelogMode {
        ChangelogMode::Retract
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    fn writer(&self, _: &WriterContext, _: Vec<serde_json::Value>) -> tidemill_engine::Result<Box<dyn SinkWriter>> {
        Err(EngineError::Unsupported("no test here runs a job".into()))
    }

    fn committer(&self, _: &str) -> tidemill_engine::Result<Option<Box<dyn Committer>>> {
        Ok(None)
    }
}

fn session() -> Session {
    Session::new(Settings::new(), Arc::new(FakeConnectors))
}

/// The answers to a script, the first error included, as text.
fn run(session: &mut Session, script: &str) -> String {
    let mut answers = String::new();
    let statements = parse_script(script).expect("the script of a test parses");
    for statement in &statements {
        match session.execute(statement) {
            Ok(Outcome::Done { note }) => note.iter().for_each(|note| answers.push_str(&format!("note: {note}\n"))),
            Ok(Outcome::Rows(rows)) => answers.push_str(&rows.to_string()),
            Ok(Outcome::Text(text)) => answers.push_str(&format!("{text}\n")),
            Err(error) => {
                answers.push_str(&error.render("t.sql", script));
                break;
            }
        }
    }
    answers
}

fn check(script: &str, expected: Expect) {
    expected.assert_eq(&run(&mut session(), script));
}

/// Many scripts, each behind the same beginning, with their answers in one file.
fn check_all(beginning: &str, scripts: &[&str], expected: ExpectFile) {
    let answer = |script: &&str| format!("-- {script}\n{}\n", run(&mut session(), &format!("{beginning}{script}")));
    expected.assert_eq(&scripts.iter().map(answer).collect::<String>());
}

const BIDS: &str = "CREATE TABLE bids (auction BIGINT NOT NULL COMMENT 'the ''lot''', price DECIMAL(10, 2), `a b` ARRAY<ROW<x INT>>,
  at_ms BIGINT, ts AS TO_TIMESTAMP_LTZ(at_ms, 3) COMMENT 'c', day AS CAST('2024-01-01' AS DATE), n VARCHAR(9), zoned TIMESTAMP_LTZ(3),
  file STRING METADATA FROM 'file.path' VIRTUAL, size BIGINT METADATA, PRIMARY KEY (auction) NOT ENFORCED,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND -- five
 ) COMMENT 'all bids' PARTITIONED BY (n) WITH ('connector' = 'fake', 'path' = '/a''b');";

#[test]
fn tables_are_described() {
    check(
        &format!("{BIDS} DESCRIBE bids; SHOW COLUMNS FROM bids LIKE '%i%'"),
        expect![[r#"
        name     type                        null   key           extras                             watermark                 comment
        auction  BIGINT                      FALSE  PRI(auction)                                                               the 'lot'
        price    DECIMAL(10, 2)              TRUE
        a b      ARRAY<ROW<`x` INT>>         TRUE
        at_ms    BIGINT                      TRUE
        ts       TIMESTAMP_LTZ(3) *ROWTIME*  TRUE                 AS TO_TIMESTAMP_LTZ(at_ms, 3)      ts - INTERVAL '5' SECOND  c
        day      DATE                        FALSE                AS CAST('2024-01-01' AS DATE)
        n        VARCHAR(9)                  TRUE
        zoned    TIMESTAMP_LTZ(3)            TRUE
        file     STRING                      TRUE                 METADATA FROM 'file.path' VIRTUAL
        size     BIGINT                      TRUE                 METADATA
        name     type            null   key           extras                             watermark  comment
        auction  BIGINT          FALSE  PRI(auction)                                                the 'lot'
        price    DECIMAL(10, 2)  TRUE
        file     STRING          TRUE                 METADATA FROM 'file.path' VIRTUAL
        size     BIGINT          TRUE                 METADATA
    "#]],
    );
    check(
        &format!("{BIDS} DESCRIBE `bids$late`; DESCRIBE `bids$errors`"),
        expect![[r#"
        name     type                 null   key  extras  watermark
        auction  BIGINT               FALSE
        price    DECIMAL(10, 2)       TRUE
        a b      ARRAY<ROW<`x` INT>>  TRUE
        at_ms    BIGINT               TRUE
        ts       TIMESTAMP_LTZ(3)     TRUE
        day      DATE                 FALSE
        n        STRING               TRUE
        zoned    TIMESTAMP_LTZ(3)     TRUE
        file     STRING               TRUE
        size     BIGINT               TRUE
        name     type              null   key  extras  watermark
        split    STRING            FALSE
        offset   BIGINT            FALSE
        reason   STRING            FALSE
        record   STRING            FALSE
        seen_at  TIMESTAMP_LTZ(3)  FALSE
    "#]],
    );
}

#[test]
fn time_attributes_are_marked() {
    check(
        "CREATE TABLE t (a INT, p AS PROCTIME(), ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'fake'); DESC t",
        expect![[r#"
            name  type                         null  key  extras         watermark
            a     INT                          TRUE
            p     TIMESTAMP_LTZ(3) *PROCTIME*  TRUE       AS PROCTIME()
            ts    TIMESTAMP(3) *ROWTIME*       TRUE                      ts
        "#]],
    );
}

#[test]
fn a_shown_table_declares_the_same_table() {
    check(
        &format!("{BIDS} SHOW CREATE TABLE bids"),
        expect![[r#"
        CREATE TABLE `bids` (
          `auction` BIGINT NOT NULL COMMENT 'the ''lot''',
          `price` DECIMAL(10, 2),
          `a b` ARRAY<ROW<`x` INT>>,
          `at_ms` BIGINT,
          `ts` AS TO_TIMESTAMP_LTZ(at_ms, 3) COMMENT 'c',
          `day` AS CAST('2024-01-01' AS DATE),
          `n` VARCHAR(9),
          `zoned` TIMESTAMP_LTZ(3),
          `file` STRING METADATA FROM 'file.path' VIRTUAL,
          `size` BIGINT METADATA,
          WATERMARK FOR `ts` AS ts - INTERVAL '5' SECOND,
          PRIMARY KEY (`auction`) NOT ENFORCED
        )
        COMMENT 'all bids'
        PARTITIONED BY (`n`)
        WITH (
          'connector' = 'fake',
          'path' = '/a''b'
        )
    "#]],
    );
    let mut first = session();
    let shown = run(&mut first, &format!("{BIDS} SHOW CREATE TABLE bids"));
    let mut second = session();
    assert_eq!(run(&mut second, &format!("{shown}; SHOW CREATE TABLE bids")), shown);
    assert_eq!(run(&mut second, "DESCRIBE bids"), run(&mut first, "DESCRIBE bids"));
}

#[test]
fn views() {
    check(
        &format!(
            "{BIDS} CREATE VIEW v (a, b) COMMENT 'x' AS SELECT auction, SUM(price) FROM bids GROUP BY auction;
             CREATE TEMPORARY VIEW w AS SELECT a FROM v; DESCRIBE v; SHOW TABLES; SHOW VIEWS LIKE 'v'; SHOW CREATE VIEW v; SHOW CREATE VIEW w;
             DROP VIEW w; DROP TABLE bids; DESCRIBE v"
        ),
        expect![[r#"
            name  type            null   key  extras  watermark
            a     BIGINT          FALSE
            b     DECIMAL(38, 2)  TRUE
            table name
            bids
            v
            w
            view name
            v
            CREATE VIEW `v` (`a`, `b`) COMMENT 'x' AS
            SELECT auction, SUM(price) FROM bids GROUP BY auction
            CREATE TEMPORARY VIEW `w` AS
            SELECT a FROM v
            error: the view `v` is not valid any more: table or view `bids` does not exist
             --> t.sql:7:53
              |
            7 |              DROP VIEW w; DROP TABLE bids; DESCRIBE v
              |                                                     ^
        "#]],
    );
}

#[test]
fn wrong_views() {
    check_all(
        "",
        &[
            "CREATE VIEW v (a) AS SELECT 1, 2",
            "CREATE VIEW v (a, a) AS SELECT 1, 2",
            "CREATE VIEW v AS SELECT 1 AS x; CREATE OR REPLACE VIEW v AS SELECT * FROM v",
            "CREATE VIEW v AS SELECT 1 AS x; CREATE VIEW v AS SELECT 2 AS y",
            "CREATE VIEW v AS SELECT x FROM nothing",
            "CREATE VIEW `v$late` AS SELECT 1",
            "CREATE VIEW v AS SELECT 1 AS x; DROP TABLE v",
            "DROP VIEW IF EXISTS v; DROP VIEW v",
        ],
        expect_file!["tests/expected/wrong_views.txt"],
    );
}

#[test]
fn views_cannot_multiply_without_end() {
    let mut session = session();
    run(&mut session, "CREATE VIEW v0 AS SELECT 1 AS x");
    let mut answer = String::new();
    for n in 0..40 {
        answer =
            run(&mut session, &format!("CREATE VIEW v{} AS SELECT * FROM v{n} UNION ALL SELECT * FROM v{n}", n + 1));
        if !answer.is_empty() {
            break;
        }
    }
    assert!(answer.contains("reads more than"), "{answer}");
    let doubled: Vec<String> =
        (0..40).map(|n| format!("w{} AS (SELECT * FROM w{n} UNION ALL SELECT * FROM w{n})", n + 1)).collect();
    let script = format!("CREATE VIEW x AS WITH w0 AS (SELECT 1 AS a), {} SELECT * FROM w40", doubled.join(", "));
    assert!(run(&mut session, &script).contains("reads more than"));
}

#[test]
fn like() {
    let base =
        "CREATE TABLE base (a INT, b AS a + 1, m STRING METADATA, ts TIMESTAMP(3), p STRING, WATERMARK FOR ts AS ts,
        PRIMARY KEY (a) NOT ENFORCED) PARTITIONED BY (p) WITH ('connector' = 'fake', 'path' = 'x');\n";
    check_all(base, &[
        "CREATE TABLE t (c INT) WITH ('path' = 'y') LIKE base; SHOW CREATE TABLE t",
        "CREATE TABLE t LIKE base (EXCLUDING ALL); SHOW CREATE TABLE t",
        "CREATE TABLE t (b AS a * 2, c INT, WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) LIKE base (OVERWRITING GENERATED
          OVERWRITING WATERMARKS EXCLUDING OPTIONS); SHOW CREATE TABLE t",
        "CREATE TABLE t WITH ('path' = 'y') LIKE base (INCLUDING OPTIONS)",
        "CREATE TABLE t (a INT) LIKE base",
        "CREATE TABLE t (WATERMARK FOR ts AS ts) LIKE base",
        "CREATE TABLE t (PRIMARY KEY (p) NOT ENFORCED) LIKE base",
        "CREATE TABLE t LIKE base (OVERWRITING CONSTRAINTS)",
        "CREATE TABLE t LIKE bas",
    ],
        expect_file!["tests/expected/like.txt"],
    );
}

#[test]
fn wrong_tables() {
    check_all(
        "",
        &[
            "CREATE TABLE t (a INT, a STRING)",
            "CREATE TABLE t ()",
            "CREATE TABLE t (a INT, WATERMARK FOR ts AS ts)",
            "CREATE TABLE t (ts STRING, WATERMARK FOR ts AS ts)",
            "CREATE TABLE t (ts TIMESTAMP(3), WATERMARK FOR ts AS 1)",
            "CREATE TABLE t (a INT, b AS x + 1)",
            "CREATE TABLE t (a INT, PRIMARY KEY (b) NOT ENFORCED)",
            "CREATE TABLE t (a INT, b AS a, PRIMARY KEY (b) NOT ENFORCED)",
            "CREATE TABLE t (a INT) PARTITIONED BY (aa)",
            "CREATE TABLE t (a INT) WITH ('connector' = 'fake', 'pth' = 'x')",
            "CREATE TABLE t (a INT) WITH ('connector' = 'fake'); CREATE TABLE t (a INT)",
            "CREATE TABLE `t$errors` (a INT)",
            "DESCRIBE bidz",
        ],
        expect_file!["tests/expected/wrong_tables.txt"],
    );
}

#[test]
fn settings() {
    check(
        "SET 'parallelism.default' = '4'; SET 'execution.checkpointing.interval' = '10 s'; SET 'table.exec.mini-batch.enabled' = 'true';
         SET 'table.exec.resource.default-parallelism' = '8'; SET; RESET 'parallelism.default'; SET; RESET; SET",
        expect![[r#"
            key                               value
            execution.checkpointing.interval  10 s
            parallelism.default               8
            table.exec.mini-batch.enabled     true
            key                               value
            execution.checkpointing.interval  10 s
            table.exec.mini-batch.enabled     true
            key  value
        "#]],
    );
}

#[test]
fn wrong_settings() {
    check_all(
        "",
        &[
            "SET 'paralelism.default' = '4'",
            "SET 'parallelism.default' = 'many'",
            "SET 'execution.checkpointing.interval' = '10 parsecs'",
            "SET 'execution.runtime-mode' = 'batch'",
            "SET 'table.local-time-zone' = 'Berlin'",
            "SET 'table.exec.row-errors' = 'ignore'",
            "RESET 'x'",
        ],
        expect_file!["tests/expected/wrong_settings.txt"],
    );
}

#[test]
fn tables_follow_the_time_zone() {
    let mut session = session();
    run(&mut session, &format!("{BIDS} SET 'table.local-time-zone' = 'Europe/Berlin'"));
    let table = session.catalog().table("bids").expect("declared above");
    let zone = |name: &str| match &table.column(name).expect("a column").data_type {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    assert_eq!(zone("zoned").as_deref(), Some("Europe/Berlin"));
    assert_eq!(zone("ts").as_deref(), Some("Europe/Berlin"));
}
