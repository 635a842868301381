//! Wrong texts and what the user reads.

use expect_test::expect;

use super::check;
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
    for (text, expected) in [
        (
            "SELECT",
            expect![[r#"
            error: expected an expression, found the end of the statement
             --> t.sql:1:6
              |
            1 | SELECT
              |      ^
        "#]],
        ),
        (
            "SELECT a, FROM t",
            expect![[r#"
                error: expected an expression, found `FROM`
                 --> t.sql:1:11
                  |
                1 | SELECT a, FROM t
                  |           ^^^^
            "#]],
        ),
        (
            "SELECT 'abc",
            expect![[r#"
            error: Unterminated string literal
             --> t.sql:1:8
              |
            1 | SELECT 'abc
              |        ^
            hint: close the text with ', and write ' inside it as ''
        "#]],
        ),
        (
            "SELECT 1;\n SELECT `abc",
            expect![[r#"
            error: Expected close delimiter '`' before EOF.
             --> t.sql:2:9
              |
            2 |  SELECT `abc
              |         ^
            hint: close the name with `
        "#]],
        ),
        (
            "SELECT 1 /* x",
            expect![[r#"
            error: Unexpected EOF while in a multi-line comment
             --> t.sql:1:14
              |
            1 | SELECT 1 /* x
              |              ^
            hint: close the comment with */
        "#]],
        ),
        (
            "SELECT \"a\"",
            expect![[r#"
            error: double quotes have no meaning here
             --> t.sql:1:8
              |
            1 | SELECT "a"
              |        ^^^
            hint: write 'a' for a text, `a` for a name
        "#]],
        ),
        (
            "SELECT * FROM (SELECT a, FROM t) x",
            expect![[r#"
                error: expected an expression, found `FROM`
                 --> t.sql:1:26
                  |
                1 | SELECT * FROM (SELECT a, FROM t) x
                  |                          ^^^^
            "#]],
        ),
        (
            "SELECT * FROM t WEHRE x = 1",
            expect![[r#"
            error: expected the end of the statement, found `x`
             --> t.sql:1:23
              |
            1 | SELECT * FROM t WEHRE x = 1
              |                       ^
            hint: did you mean `WHERE` instead of `WEHRE`?
        "#]],
        ),
        (
            "SELECT a::INT",
            expect![[r#"
            error: the cast `::` is not Flink SQL
             --> t.sql:1:8
              |
            1 | SELECT a::INT
              |        ^
            hint: write CAST(x AS type)
        "#]],
        ),
        (
            "SELECT CAST(a AS INTT)",
            expect![[r#"
            error: `INTT` is not a data type
             --> t.sql:1:18
              |
            1 | SELECT CAST(a AS INTT)
              |                  ^^^^
            hint: did you mean `INT`?
        "#]],
        ),
        (
            "SELECT CAST(a, INT)",
            expect![[r#"
            error: expected `AS`, found `,`
             --> t.sql:1:14
              |
            1 | SELECT CAST(a, INT)
              |              ^
        "#]],
        ),
        (
            "SELECT CAST(a AS MULTISET<INT>)",
            expect![[r#"
            error: the type MULTISET is not supported
             --> t.sql:1:18
              |
            1 | SELECT CAST(a AS MULTISET<INT>)
              |                  ^^^^^^^^
            hint: MAP<t, INT> holds the same: values and how often
        "#]],
        ),
        (
            "SELECT INTERVAL 10 MINUTE",
            expect![[r#"
            error: expected the interval's value in quotes, found `10`
             --> t.sql:1:17
              |
            1 | SELECT INTERVAL 10 MINUTE
              |                 ^^
            hint: write INTERVAL '10' MINUTE
        "#]],
        ),
        (
            "SELECT INTERVAL '1:30' MINUTE",
            expect![[r#"
            error: `1:30` is not a value of this interval
             --> t.sql:1:17
              |
            1 | SELECT INTERVAL '1:30' MINUTE
              |                 ^^^^^^
            hint: for example INTERVAL '10' MINUTE
        "#]],
        ),
        (
            "SELECT INTERVAL '1' MINUT",
            expect![[r#"
            error: expected the interval's unit (SECOND, MINUTE, HOUR, DAY, MONTH, YEAR), found `MINUT`
             --> t.sql:1:21
              |
            1 | SELECT INTERVAL '1' MINUT
              |                     ^^^^^
            hint: did you mean `MINUTE`?
        "#]],
        ),
        (
            "SELECT TIMESTAMP '2024-13-01 00:00:00'",
            expect![[r#"
            error: `2024-13-01 00:00:00` is not a TIMESTAMP
             --> t.sql:1:18
              |
            1 | SELECT TIMESTAMP '2024-13-01 00:00:00'
              |                  ^^^^^^^^^^^^^^^^^^^^^
            hint: for example TIMESTAMP '2024-01-31 10:00:00.123'
        "#]],
        ),
        (
            "SELECT EXTRACT(YEER FROM x)",
            expect![[r#"
            error: `YEER` is not a unit of time
             --> t.sql:1:16
              |
            1 | SELECT EXTRACT(YEER FROM x)
              |                ^^^^
            hint: did you mean `YEAR`?
        "#]],
        ),
        (
            "SELECT MAP['a']",
            expect![[r#"
            error: expected `,` and the key's value, found `]`
             --> t.sql:1:15
              |
            1 | SELECT MAP['a']
              |               ^
            hint: MAP[key, value, key, value, ...]
        "#]],
        ),
        (
            "SELECT __window_start('x', ts) FROM t",
            expect![[r#"
            error: there is no function `__window_start`
             --> t.sql:1:8
              |
            1 | SELECT __window_start('x', ts) FROM t
              |        ^^^^^^^^^^^^^^
        "#]],
        ),
        (
            "SELECT * FROM t /*+ OPTIONS('a'='b') */",
            expect![[r#"
            error: hints are not supported
             --> t.sql:1:17
              |
            1 | SELECT * FROM t /*+ OPTIONS('a'='b') */
              |                 ^^^^^^^^^^^^^^^^^^^^^^^
            hint: CREATE TABLE t2 (...) WITH (...) LIKE t sets other options
        "#]],
        ),
        (
            "SELECT * FROM cat.db.t",
            expect![[r#"
            error: there is no catalog or database `cat.db`
             --> t.sql:1:15
              |
            1 | SELECT * FROM cat.db.t
              |               ^^^^^^^^
            hint: all tables are in `default_catalog.default_database`; write `t`
        "#]],
        ),
        (
            "SELECT * FROM t FULL JOIN UNNEST(a) AS u (x) ON TRUE",
            expect![[r#"
            error: UNNEST can be joined by CROSS JOIN or LEFT JOIN ... ON TRUE only
             --> t.sql:1:27
              |
            1 | SELECT * FROM t FULL JOIN UNNEST(a) AS u (x) ON TRUE
              |                           ^^^^^^^^^^^^^^^^^
        "#]],
        ),
        (
            "INSERT OVERWRITE t SELECT 1",
            expect![[r#"
            error: INSERT OVERWRITE is not supported: a stream only appends
             --> t.sql:1:8
              |
            1 | INSERT OVERWRITE t SELECT 1
              |        ^^^^^^^^^
            hint: write INSERT INTO
        "#]],
        ),
        (
            "INSERT INTO t SELEC 1",
            expect![[r#"
            error: expected a query (SELECT, WITH or VALUES), found `SELEC`
             --> t.sql:1:15
              |
            1 | INSERT INTO t SELEC 1
              |               ^^^^^
            hint: did you mean `SELECT` instead of `SELEC`?
        "#]],
        ),
        (
            "EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1;",
            expect![[r#"
            error: expected `INSERT` or `END`, found the end of the statement
             --> t.sql:1:51
              |
            1 | EXECUTE STATEMENT SET BEGIN INSERT INTO t SELECT 1;
              |                                                   ^
            hint: a statement set holds INSERT statements, each with its `;`, and ends with END
        "#]],
        ),
        (
            "BEGIN STATEMENT SET; END;",
            expect![[r#"
            error: the statement set is empty
             --> t.sql:1:22
              |
            1 | BEGIN STATEMENT SET; END;
              |                      ^^^
        "#]],
        ),
        (
            "EXPLAIN CREATE TABLE t (a INT)",
            expect![[r#"
            error: only queries, INSERT and statement sets can be explained
             --> t.sql:1:9
              |
            1 | EXPLAIN CREATE TABLE t (a INT)
              |         ^^^^^^
        "#]],
        ),
        (
            "SET table.x = 1",
            expect![[r#"
            error: expected an option in quotes, found `table`
             --> t.sql:1:5
              |
            1 | SET table.x = 1
              |     ^^^^^
            hint: write SET 'key' = 'value'
        "#]],
        ),
        (
            "USE CATALOG c",
            expect![[r#"
            error: USE is not supported
             --> t.sql:1:1
              |
            1 | USE CATALOG c
              | ^^^
            hint: there is one catalog and one database
        "#]],
        ),
        (
            "ALTER TABLE t RENAME TO s",
            expect![[r#"
            error: ALTER is not supported
             --> t.sql:1:1
              |
            1 | ALTER TABLE t RENAME TO s
              | ^^^^^
            hint: drop the table or view and create it again
        "#]],
        ),
        (
            "SHOW JOBS",
            expect![[r#"
            error: this SHOW statement is not supported
             --> t.sql:1:6
              |
            1 | SHOW JOBS
              |      ^^^^
            hint: SHOW TABLES, VIEWS, FUNCTIONS, COLUMNS FROM t, CREATE TABLE t, CREATE VIEW v
        "#]],
        ),
        (
            "SELECT 1 SELECT 2",
            expect![[r#"
            error: expected the end of the statement, found `SELECT`
             --> t.sql:1:10
              |
            1 | SELECT 1 SELECT 2
              |          ^^^^^^
        "#]],
        ),
        (
            "SELECT * FROM a WHERE x = ?",
            expect![[r#"
                error: placeholders are not supported
                 --> t.sql:1:27
                  |
                1 | SELECT * FROM a WHERE x = ?
                  |                           ^
                hint: write the value
            "#]],
        ),
    ] {
        check(text, expected);
    }
}

#[test]
fn create_table() {
    for (text, expected) in [
        (
            "CREATE TABLE t (a INT, b STRNG)",
            expect![[r#"
            error: `STRNG` is not a data type
             --> t.sql:1:26
              |
            1 | CREATE TABLE t (a INT, b STRNG)
              |                          ^^^^^
            hint: did you mean `STRING`?
        "#]],
        ),
        (
            "CREATE TABLE t (a INT,)",
            expect![[r#"
            error: expected a column, found `)`
             --> t.sql:1:23
              |
            1 | CREATE TABLE t (a INT,)
              |                       ^
            hint: take the comma before `)` away
        "#]],
        ),
        (
            "CREATE TABLE t (a INT PRIMARY KEY)",
            expect![[r#"
            error: expected `NOT ENFORCED`, found `)`
             --> t.sql:1:34
              |
            1 | CREATE TABLE t (a INT PRIMARY KEY)
              |                                  ^
            hint: a stream's keys cannot be checked: PRIMARY KEY (...) NOT ENFORCED
        "#]],
        ),
        (
            "CREATE TABLE t (a INT) WITH (connector = 'x')",
            expect![[r#"
            error: expected an option in quotes, found `connector`
             --> t.sql:1:30
              |
            1 | CREATE TABLE t (a INT) WITH (connector = 'x')
              |                              ^^^^^^^^^
            hint: put it in single quotes: 'text'
        "#]],
        ),
        (
            "CREATE TABLE t (a INT) WITH ('a' = '1', 'a' = '2')",
            expect![[r#"
            error: the option `a` is given twice
             --> t.sql:1:41
              |
            1 | CREATE TABLE t (a INT) WITH ('a' = '1', 'a' = '2')
              |                                         ^^^
        "#]],
        ),
        (
            "CREATE TABLE t (a DECIMAL(39, 2))",
            expect![[r#"
            error: the precision of a DECIMAL must be from 1 to 38, not 39
             --> t.sql:1:27
              |
            1 | CREATE TABLE t (a DECIMAL(39, 2))
              |                           ^^
        "#]],
        ),
        (
            "CREATE TABLE t (a TIMESTAMP(3) WITH TIME ZONE)",
            expect![[r#"
            error: TIMESTAMP WITH TIME ZONE is not supported
             --> t.sql:1:32
              |
            1 | CREATE TABLE t (a TIMESTAMP(3) WITH TIME ZONE)
              |                                ^^^^
            hint: TIMESTAMP_LTZ(3) is a point in time, shown in the session's zone
        "#]],
        ),
        (
            "CREATE TABLE t (a INT, WATERMARK FOR a.b AS a)",
            expect![[r#"
            error: expected `AS`, found `.`
             --> t.sql:1:39
              |
            1 | CREATE TABLE t (a INT, WATERMARK FOR a.b AS a)
              |                                       ^
            hint: a field of a ROW cannot be the time column: make it a column with `ts AS row.ts`
        "#]],
        ),
        (
            "CREATE TABLE t (a INT) AS SELECT 1",
            expect![[r#"
            error: AS is not supported in CREATE TABLE
             --> t.sql:1:24
              |
            1 | CREATE TABLE t (a INT) AS SELECT 1
              |                        ^^
            hint: create the table with its columns, then INSERT INTO it
        "#]],
        ),
        (
            "CREATE TABLE t (a INT) LIKE s (INCLUDING EVERYTHING)",
            expect![[r#"
            error: expected ALL, CONSTRAINTS, GENERATED, METADATA, OPTIONS, PARTITIONS, WATERMARKS, found `EVERYTHING`
             --> t.sql:1:42
              |
            1 | CREATE TABLE t (a INT) LIKE s (INCLUDING EVERYTHING)
              |                                          ^^^^^^^^^^
        "#]],
        ),
        (
            "CREATE FUNCTION f AS 'x'",
            expect![[r#"
            error: CREATE FUNCTION is not supported
             --> t.sql:1:8
              |
            1 | CREATE FUNCTION f AS 'x'
              |        ^^^^^^^^
            hint: functions are built in: SHOW FUNCTIONS lists them
        "#]],
        ),
        (
            "CREATE TABEL t (a INT)",
            expect![[r#"
                error: expected `TABLE` or `VIEW`, found `TABEL`
                 --> t.sql:1:8
                  |
                1 | CREATE TABEL t (a INT)
                  |        ^^^^^
                hint: did you mean `TABLE`?
            "#]],
        ),
        (
            "CREATE TABLE t (a INT DEFAULT 1)",
            expect![[r#"
            error: DEFAULT is not supported
             --> t.sql:1:23
              |
            1 | CREATE TABLE t (a INT DEFAULT 1)
              |                       ^^^^^^^
            hint: use COALESCE(column, value) in the query
        "#]],
        ),
    ] {
        check(text, expected);
    }
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
