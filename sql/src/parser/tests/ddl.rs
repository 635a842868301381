//! Statements that declare, show and set.

use expect_test::expect;
use sqlparser::ast::Ident;

use super::check;
use crate::parser::statement::{ColumnClause, CreateTable, Show};

pub(super) fn names(idents: &[Ident]) -> Vec<&str> {
    idents.iter().map(|ident| ident.value.as_str()).collect()
}

pub(super) fn show_table(table: &CreateTable) -> String {
    let mut text =
        format!("TABLE {} temporary={} if_not_exists={}", table.name.value, table.temporary, table.if_not_exists);
    for column in &table.columns {
        let kind = match &column.kind {
            ColumnClause::Physical(sql_type) => sql_type.to_string(),
            ColumnClause::Computed { expression, text } => format!("AS {expression} -- {text}"),
            ColumnClause::Metadata { sql_type, from, virtual_ } => {
                format!("{sql_type} METADATA {:?} virtual={virtual_}", from.as_ref().map(|from| &from.value))
            }
        };
        let line = format!("\n  {} {kind} {}", column.name.value, column.comment.as_deref().unwrap_or(""));
        text.push_str(line.trim_end());
    }
    if let Some(watermark) = &table.watermark {
        text.push_str(&format!(
            "\n  WATERMARK {} AS {} -- {}",
            watermark.column.value, watermark.expression, watermark.text
        ));
    }
    if let Some(key) = &table.primary_key {
        text.push_str(&format!("\n  KEY {:?} {:?}", key.name.as_ref().map(|name| &name.value), names(&key.columns)));
    }
    if !table.partitioned_by.is_empty() {
        text.push_str(&format!("\n  PARTITIONED BY {:?}", names(&table.partitioned_by)));
    }
    for option in &table.options {
        text.push_str(&format!("\n  '{}' = '{}'", option.key.value, option.value.value));
    }
    if let Some(like) = &table.like {
        let rules: Vec<String> =
            like.rules.iter().map(|rule| format!("{:?} {:?}", rule.merging, rule.feature)).collect();
        text.push_str(&format!("\n  LIKE {} {rules:?}", like.table.value));
    }
    text
}

pub(super) fn show_show(show: &Show) -> String {
    match show {
        Show::Tables { like } => format!("SHOW TABLES {:?}", like.as_ref().map(|like| &like.value)),
        Show::Views { like } => format!("SHOW VIEWS {:?}", like.as_ref().map(|like| &like.value)),
        Show::Functions { like } => format!("SHOW FUNCTIONS {:?}", like.as_ref().map(|like| &like.value)),
        Show::Columns { table, like } => format!("SHOW COLUMNS {table} {:?}", like.as_ref().map(|like| &like.value)),
        Show::CreateTable(name) => format!("SHOW CREATE TABLE {name}"),
        Show::CreateView(name) => format!("SHOW CREATE VIEW {name}"),
    }
}

#[test]
fn a_table_with_everything() {
    check(
        "CREATE TEMPORARY TABLE IF NOT EXISTS default_catalog.default_database.bid (
           auction BIGINT NOT NULL COMMENT 'the ''lot''',
           price DECIMAL(10, 2), `order` ROW<a INT, `b c` ARRAY<ARRAY<STRING>> 'inner'>,
           ts TIMESTAMP(3), local AS CAST(ts AS TIMESTAMP_LTZ(3)), -- a comment
           file STRING METADATA FROM 'file.path' VIRTUAL, at_ms BIGINT METADATA,
           PRIMARY KEY (auction, price) NOT ENFORCED,
           WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
         ) COMMENT 'bids' PARTITIONED BY (auction) WITH ('connector' = 'filesystem', 'path' = '/a/b')
         LIKE base (EXCLUDING ALL INCLUDING OPTIONS);",
        expect![[r#"
            TABLE bid temporary=true if_not_exists=true
              auction BIGINT NOT NULL the 'lot'
              price DECIMAL(10, 2)
              order ROW<`a` INT, `b c` ARRAY<ARRAY<STRING>> 'inner'>
              ts TIMESTAMP(3)
              local AS CAST(ts AS __type(TIMESTAMP_LTZ(3))) -- CAST(ts AS TIMESTAMP_LTZ(3))
              file STRING METADATA Some("file.path") virtual=true
              at_ms BIGINT METADATA None virtual=false
              WATERMARK ts AS ts - INTERVAL '5000 milliseconds' -- ts - INTERVAL '5' SECOND
              KEY None ["auction", "price"]
              PARTITIONED BY ["auction"]
              'connector' = 'filesystem'
              'path' = '/a/b'
              LIKE base ["Excluding All", "Including Options"]
        "#]],
    );
}

#[test]
fn types() {
    check(
        "CREATE TABLE t (a BOOLEAN, b TINYINT, c SMALLINT, d INT, e INTEGER, f BIGINT, g FLOAT, h DOUBLE PRECISION, i DEC,
           j NUMERIC(5), k CHAR, l CHAR(3), m VARCHAR(7), n STRING, o BINARY(2), p VARBINARY(9), q BYTES, r DATE, s TIME, t TIME(3),
           u TIMESTAMP, v TIMESTAMP(3) WITHOUT TIME ZONE, w TIMESTAMP_LTZ(9), x TIMESTAMP(3) WITH LOCAL TIME ZONE, y INT ARRAY NOT NULL,
           z MAP<STRING, INT NOT NULL>, aa ROW(a INT, b ROW<c INT>), bb INTERVAL YEAR TO MONTH, cc INTERVAL DAY(3) TO SECOND(3),
           dd ARRAY<INT NOT NULL> NOT NULL, k1 INT PRIMARY KEY NOT ENFORCED)",
        expect![[r#"
            TABLE t temporary=false if_not_exists=false
              a BOOLEAN
              b TINYINT
              c SMALLINT
              d INT
              e INT
              f BIGINT
              g FLOAT
              h DOUBLE
              i DECIMAL(10, 0)
              j DECIMAL(5, 0)
              k CHAR(1)
              l CHAR(3)
              m VARCHAR(7)
              n STRING
              o BINARY(2)
              p VARBINARY(9)
              q BYTES
              r DATE
              s TIME(0)
              t TIME(3)
              u TIMESTAMP(6)
              v TIMESTAMP(3)
              w TIMESTAMP_LTZ(9)
              x TIMESTAMP_LTZ(3)
              y ARRAY<INT> NOT NULL
              z MAP<STRING, INT NOT NULL>
              aa ROW<`a` INT, `b` ROW<`c` INT>>
              bb INTERVAL YEAR TO MONTH
              cc INTERVAL DAY(3) TO SECOND(3)
              dd ARRAY<INT NOT NULL> NOT NULL
              k1 INT
              KEY None ["k1"]
        "#]],
    );
}

#[test]
fn views_and_small_statements() {
    check(
        "CREATE VIEW v (a, b) COMMENT 'x' AS SELECT 1, 'two;three' ;
         CREATE OR REPLACE TEMPORARY VIEW `my view` AS WITH q AS (SELECT 1 AS x) SELECT * FROM q;
         DROP TABLE IF EXISTS t; DROP TEMPORARY VIEW v; SHOW TABLES; SHOW TABLES LIKE 'a%'; SHOW VIEWS; SHOW FUNCTIONS;
         SHOW CREATE TABLE t; SHOW CREATE VIEW v; SHOW COLUMNS FROM t LIKE '%x'; DESC t; DESCRIBE EXTENDED t;
         SET; SET 'table.local-time-zone' = 'Europe/Berlin'; RESET; RESET 'pipeline.name'; ;; /* nothing */ ;",
        expect![[r#"
            VIEW v ["a", "b"] AS SELECT 1 AS `EXPR$0`, 'two;three' AS `EXPR$1` -- SELECT 1, 'two;three'
            VIEW `my view` [] AS WITH q AS (SELECT 1 AS x) SELECT * FROM q -- WITH q AS (SELECT 1 AS x) SELECT * FROM q
            DROP Table t if_exists=true temporary=false
            DROP View v if_exists=false temporary=true
            SHOW TABLES None
            SHOW TABLES Some("a%")
            SHOW VIEWS None
            SHOW FUNCTIONS None
            SHOW CREATE TABLE t
            SHOW CREATE VIEW v
            SHOW COLUMNS t Some("%x")
            DESCRIBE t extended=false
            DESCRIBE t extended=true
            SET None
            SET Some(("table.local-time-zone", "Europe/Berlin"))
            RESET None
            RESET Some("pipeline.name")
        "#]],
    );
}

#[test]
fn inserts_and_sets() {
    check(
        "INSERT INTO t SELECT * FROM s; EXECUTE INSERT INTO t (a, b) VALUES (1, 'x'), (2, NULL);
         INSERT INTO t PARTITION (day = '2024-01-01', h = 3) (a) SELECT a FROM s;
         EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; INSERT INTO b SELECT 2; END;
         BEGIN STATEMENT SET; INSERT INTO a SELECT CASE WHEN x THEN 1 END FROM t; END; SELECT 3;
         EXPLAIN SELECT 1; EXPLAIN PLAN FOR INSERT INTO t SELECT 1; EXPLAIN ESTIMATED_COST, CHANGELOG_MODE SELECT 1;
         EXPLAIN STATEMENT SET BEGIN INSERT INTO a SELECT 1; END; EXPLAIN EXECUTE STATEMENT SET BEGIN INSERT INTO a SELECT 1; END",
        expect![[r#"
            INSERT t [] [] SELECT * FROM s
            INSERT t ["a", "b"] [] VALUES (1, 'x'), (2, NULL)
            INSERT t ["a"] ["day='2024-01-01'", "h=3"] SELECT a FROM s
            SET OF 2: INSERT a [] [] SELECT 1 AS `EXPR$0` ; INSERT b [] [] SELECT 2 AS `EXPR$0`
            SET OF 1: INSERT a [] [] SELECT CASE WHEN x THEN 1 END AS `EXPR$0` FROM t
            SELECT 3 AS `EXPR$0`
            EXPLAIN [] SELECT 1 AS `EXPR$0`
            EXPLAIN [] INSERT t [] [] SELECT 1 AS `EXPR$0`
            EXPLAIN [EstimatedCost, ChangelogMode] SELECT 1 AS `EXPR$0`
            EXPLAIN [] SET OF 1: INSERT a [] [] SELECT 1 AS `EXPR$0`
            EXPLAIN [] SET OF 1: INSERT a [] [] SELECT 1 AS `EXPR$0`
        "#]],
    );
}
