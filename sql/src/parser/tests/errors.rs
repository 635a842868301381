//! Wrong texts and what the user reads.

use expect_test::{expect, expect_file};

use super::{check, check_all};
use crate::parser::parse_script;

#[test]
fn one_diagnostic_per_statement() {
    check(
        "SELEC 1;\nSELECT * FORM t;\nSELECT a FORM t;\nSELECT 1;\nCREAT TABLE x",
        expect![[r#"
        error: `SELEC` does not start a statement
         --> t.sql:1:1
          |
        1 | SELEC 1;
          | ^^^^^
        hint: did you mean `SELECT`?

        error: expected the end of the statement, found `FORM`
         --> t.sql:2:10
          |
        2 | SELECT * FORM t;
          |          ^^^^
        hint: did you mean `FROM` instead of `FORM`?

        error: expected the end of the statement, found `t`
         --> t.sql:3:15
          |
        3 | SELECT a FORM t;
          |               ^
        hint: did you mean `FROM` instead of `FORM`?

        error: `CREAT` does not start a statement
         --> t.sql:5:1
          |
        5 | CREAT TABLE x
          | ^^^^^
        hint: did you mean `CREATE`?
    "#]],
    );
}

#[test]
fn statements() {
    check_all(
        &[
            "SELECT",
            "SELECT a, FROM t",
            "SELECT 'abc",
            "SELECT 1;\n SELECT `abc",
            "SELECT 1 /* x",
            "SELECT \"a\"",
            "SELECT * FROM (SELECT a, FROM t) x",
            "SELECT * FROM t WEHRE x = 1",
            "SELECT a::INT",
            "SELECT CAST(a AS INTT)",
            "SELECT CAST(a, INT)",
            "SELECT CAST(a AS MULTISET<INT>)",
            "SELECT INTERVAL 10 MINUTE",
            "SELECT INTERVAL '1:30' MINUTE",
            "SELECT INTERVAL '1' MINUT",
            "SELECT TIMESTAMP '2024-13-01 00:00:00'",
            "SELECT EXTRACT(YEER FROM x)",
            "SELECT MAP['a']",
            "SELECT __window_start('x', ts) FROM t",
            "SELECT * FROM t /*+ OPTIONS('a'='b') */",
            "SELECT * FROM cat.db.t",
            "SELECT * FROM t FULL JOIN UNNEST(a) AS u (x) ON TRUE",
            "INSERT OVERWRITE t SELECT 1",
            "INSERT INTO t SELEC 1",
            "EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1;",
            "BEGIN STATEMENT SET; END;",
            "EXPLAIN CREATE TABLE t (a INT)",
            "SET table.x = 1",
            "USE CATALOG c",
            "ALTER TABLE t RENAME TO s",
            "SHOW JOBS",
            "SELECT 1 SELECT 2",
            "SELECT * FROM a WHERE x = ?",
        ],
        expect_file!["expected/statements.txt"],
    );
}

#[test]
fn create_table() {
    check_all(
        &[
            "CREATE TABLE t (a INT, b STRNG)",
            "CREATE TABLE t (a INT,)",
            "CREATE TABLE t (a INT PRIMARY KEY)",
            "CREATE TABLE t (a INT) WITH (connector = 'x')",
            "CREATE TABLE t (a INT) WITH ('a' = '1', 'a' = '2')",
            "CREATE TABLE t (a DECIMAL(39, 2))",
            "CREATE TABLE t (a TIMESTAMP(3) WITH TIME ZONE)",
            "CREATE TABLE t (a INT, WATERMARK FOR a.b AS a)",
            "CREATE TABLE t (a INT) AS SELECT 1",
            "CREATE TABLE t (a INT) LIKE s (INCLUDING EVERYTHING)",
            "CREATE FUNCTION f AS 'x'",
            "CREATE TABEL t (a INT)",
            "CREATE TABLE t (a INT DEFAULT 1)",
        ],
        expect_file!["expected/create_table.txt"],
    );
}

#[test]
fn deep_and_long_texts_are_refused_or_parsed_but_never_overflow() {
    let n = 100_000;
    let texts = [
        format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n)),
        format!("SELECT {}", "(".repeat(n)),
        format!("SELECT {}1", "- ".repeat(n)),
        format!("SELECT {}1", "NOT ".repeat(n)),
        format!("SELECT 1{}", " + 1".repeat(n)),
        format!("SELECT a{}", ".a".repeat(n)),
        format!("SELECT a{}", "[1]".repeat(n)),
        format!("SELECT {}", "CASE WHEN ".repeat(n)),
        format!("SELECT {}", "f(".repeat(n)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(n)),
        format!("SELECT * FROM {}t", "(".repeat(n)),
        format!("SELECT * FROM {}", "(SELECT * FROM ".repeat(60)),
        format!("SELECT CAST(a AS {}INT{})", "ARRAY<".repeat(n), ">".repeat(n)),
        format!("SELECT CAST(a AS INT{})", " ARRAY".repeat(n)),
        format!("SELECT {}", "CAST(".repeat(60)),
        format!("SELECT {}", "INTERVAL ".repeat(n)),
        format!("SELECT {}", "ARRAY[".repeat(60)),
        format!("SELECT {}", "ARRAY<".repeat(n)),
        format!("SELECT * FROM t AS x (a {}", "ARRAY<".repeat(n)),
        format!("SELECT * FROM t AS x (a INT{})", "[]".repeat(n)),
        format!("SELECT {}1{}", "(1+".repeat(60), ")+1+1+1+1+1+1+1+1+1".repeat(60)),
        format!("EXPLAIN {}SELECT 1", "EXPLAIN ".repeat(n)),
        format!("SELECT a{}", " IS NULL".repeat(n)),
        format!("SELECT {}a", "EXISTS ".repeat(n)),
        format!("SELECT {}a", "TABLE ".repeat(n)),
        format!("WITH {} SELECT 1", "a AS (WITH ".repeat(60)),
        format!("VALUES {} (1)", "(1),".repeat(n)),
        format!("SELECT a{}", " COLLATE x".repeat(n)),
        format!("SELECT a{}", " AT TIME ZONE 'x'".repeat(n)),
        format!("SELECT * FROM t{}", " JOIN t".repeat(n)),
    ];
    for text in texts {
        let shown: String = text.chars().take(30).collect();

        let started = std::time::Instant::now();
        if let Err(errors) = parse_script(&text) {
            assert!(errors.iter().all(|error| error.has_place()), "{shown}");
        }
        println!("{shown} {:?}", started.elapsed());
        assert!(started.elapsed().as_secs() < 20, "{shown} took {:?}", started.elapsed());
    }
}

#[test]
fn texts_just_within_the_limits_are_parsed() {
    for text in [
        format!("SELECT 1{}", " + 1".repeat(290)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(290)),
        format!("SELECT 1 FROM t WHERE a = 1{}", " OR b + 1 = 2 AND c".repeat(280)),
        format!(
            "EXECUTE STATEMENT SET BEGIN {} END",
            "INSERT INTO t SELECT a FROM t UNION ALL SELECT b FROM u;".repeat(400)
        ),
        format!("SELECT {}1{}", "(".repeat(60), ")".repeat(60)),
        format!("SELECT {}1{} + 1", "(1 + ".repeat(60), ")".repeat(60)),
        format!("SELECT {}a{}", "CAST(".repeat(40), " AS INT)".repeat(40)),
        format!("SELECT * FROM {}t{}", "(SELECT * FROM ".repeat(30), ")".repeat(30)),
        format!("SELECT {}1{}", "IF(a, b, ".repeat(40), ")".repeat(40)),
    ] {
        let shown: String = text.chars().take(30).collect();
        assert!(parse_script(&text).is_ok(), "{shown}: {:?}", parse_script(&text).err());
    }
}
