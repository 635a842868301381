//! Expressions and queries in the shapes that the planner gets.

use expect_test::{Expect, expect};

use super::check;

fn check_expr(text: &str, expected: Expect) {
    check(&format!("SELECT {text}"), expected);
}

#[test]
fn casts_and_literals() {
    check_expr(
        "CAST(a AS TIMESTAMP_LTZ(3)), TRY_CAST('1' AS INT), CAST(a AS ROW<x INT, y ARRAY<ARRAY<INT>>>)",
        expect![[r#"
            SELECT CAST(a AS __type(TIMESTAMP_LTZ(3))) AS `EXPR$0`, TRY_CAST('1' AS __type(INT)) AS `EXPR$1`, CAST(a AS __type(ROW<`x` INT, `y` ARRAY<ARRAY<INT>>>)) AS `EXPR$2`
        "#]],
    );
    check_expr(
        "CAST(a AS VARCHAR(3)), CAST(a AS CHAR(3)), CAST(a AS STRING)",
        expect![[r#"
            SELECT left(CAST(a AS __type(VARCHAR(3))), 3) AS `EXPR$0`, rpad(CAST(a AS __type(CHAR(3))), 3, ' ') AS `EXPR$1`, CAST(a AS __type(STRING)) AS `EXPR$2`
        "#]],
    );
    check_expr(
        "DATE '2024-01-31', TIME '10:00:00', TIMESTAMP '2024-01-31 10:00:00', TIMESTAMP '2024-01-31 10:00:00.123'",
        expect![[r#"
            SELECT CAST('2024-01-31' AS __type(DATE NOT NULL)) AS `EXPR$0`, CAST('10:00:00' AS __type(TIME(0) NOT NULL)) AS `EXPR$1`, CAST('2024-01-31 10:00:00' AS __type(TIMESTAMP(0) NOT NULL)) AS `EXPR$2`, CAST('2024-01-31 10:00:00.123' AS __type(TIMESTAMP(3) NOT NULL)) AS `EXPR$3`
        "#]],
    );
    check_expr(
        "INTERVAL '10' MINUTES, INTERVAL '1:30' MINUTE TO SECOND, INTERVAL '1 02:03:04.5' DAY(2) TO SECOND(3), INTERVAL -'2' MONTH, INTERVAL '2' WEEK",
        expect![[r#"
            SELECT INTERVAL '600000 milliseconds' AS `EXPR$0`, INTERVAL '90000 milliseconds' AS `EXPR$1`, INTERVAL '93784500 milliseconds' AS `EXPR$2`, INTERVAL '-2 months' AS `EXPR$3`, INTERVAL '1209600000 milliseconds' AS `EXPR$4`
        "#]],
    );
    check_expr(
        "U&'\\00e4', 'it''s', X'0aff', TRUE, NULL, 1.5e3",
        expect![[r#"
            SELECT 'ä' AS `EXPR$0`, 'it''s' AS `EXPR$1`, X'0aff' AS `EXPR$2`, true AS `EXPR$3`, NULL AS `EXPR$4`, CAST('1.5e3' AS __type(DOUBLE NOT NULL)) AS `EXPR$5`
        "#]],
    );
}

#[test]
fn time_functions() {
    check_expr(
        "EXTRACT(YEAR FROM ts), FLOOR(ts TO HOUR), CEIL(ts TO DAY), FLOOR(x), CEILING(x)",
        expect![[r#"
            SELECT extract('YEAR', ts) AS `EXPR$0`, floor_to('HOUR', ts) AS `EXPR$1`, ceil_to('DAY', ts) AS `EXPR$2`, floor(x) AS `EXPR$3`, ceil(x) AS `EXPR$4`
        "#]],
    );
    check_expr(
        "TIMESTAMPDIFF(SECOND, a, b), TIMESTAMPADD(MONTH, 1, a), CURRENT_TIMESTAMP, CURRENT_DATE, LOCALTIMESTAMP, NOW(), PROCTIME()",
        expect![[r#"
            SELECT timestampdiff('SECOND', a, b) AS `EXPR$0`, timestampadd('MONTH', 1, a) AS `EXPR$1`, CURRENT_TIMESTAMP() AS `EXPR$2`, CURRENT_DATE() AS `EXPR$3`, LOCALTIMESTAMP() AS `EXPR$4`, NOW() AS `EXPR$5`, PROCTIME() AS `EXPR$6`
        "#]],
    );
    check_expr(
        "extract, floor, date, time, timestamp, `interval`, year FROM t",
        expect![[r#"
        SELECT extract, floor, date, time, timestamp, `interval`, year FROM t
    "#]],
    );
}

#[test]
fn strings_and_json() {
    check_expr(
        "TRIM(BOTH 'x' FROM s), POSITION('a' IN b), OVERLAY(a PLACING b FROM 1 FOR 2), SUBSTRING(a FROM 2), a || b, a SIMILAR TO b",
        expect![[r#"
            SELECT TRIM(BOTH 'x' FROM s) AS `EXPR$0`, POSITION('a' IN b) AS `EXPR$1`, OVERLAY(a PLACING b FROM 1 FOR 2) AS `EXPR$2`, SUBSTRING(a FROM 2) AS `EXPR$3`, a || b AS `EXPR$4`, similar_to(a, b) AS `EXPR$5`
        "#]],
    );
    check_expr(
        "JSON_VALUE(x, '$.a'), JSON_VALUE(x, '$.a' RETURNING INT DEFAULT 1 ON EMPTY ERROR ON ERROR)",
        expect![[r#"
            SELECT json_value(x, '$.a') AS `EXPR$0`, json_value(x, '$.a', 'INT', 'DEFAULT', 1, 'ERROR', NULL) AS `EXPR$1`
        "#]],
    );
    check_expr(
        "JSON_QUERY(x, '$.a' WITH CONDITIONAL ARRAY WRAPPER EMPTY ARRAY ON EMPTY), JSON_EXISTS(x, '$.a' TRUE ON ERROR), x IS JSON, x IS NOT JSON OBJECT",
        expect![[r#"
            SELECT json_query(x, '$.a', 'CONDITIONAL', 'EMPTY ARRAY', 'NULL', 'STRING') AS `EXPR$0`, json_exists(x, '$.a', 'TRUE') AS `EXPR$1`, is_json(x, 'VALUE') AS `EXPR$2`, NOT is_json(x, 'OBJECT') AS `EXPR$3`
        "#]],
    );
    check_expr(
        "JSON_OBJECT('a' VALUE 1, KEY 'b' VALUE x ABSENT ON NULL), JSON_ARRAY(1, NULL NULL ON NULL), JSON_OBJECT(), JSON_ARRAY(1)",
        expect![[r#"
            SELECT json_object('ABSENT', 'a', 1, 'b', x) AS `EXPR$0`, json_array('NULL', 1, NULL) AS `EXPR$1`, json_object('NULL') AS `EXPR$2`, json_array('ABSENT', 1) AS `EXPR$3`
        "#]],
    );
}

#[test]
fn json_in_json_and_patterns() {
    check_expr(
        "JSON_OBJECT('a' VALUE JSON_ARRAY(x, (JSON_OBJECT())), 'b' VALUE '[]')",
        expect![[r#"
            SELECT json_object('NULL 1', 'a', json_array('ABSENT 1', x, (json_object('NULL'))), 'b', '[]') AS `EXPR$0`
        "#]],
    );
    check_expr(
        "p AND a IS NOT DISTINCT FROM b + 1 AND c OR d, a LIKE '50!%' ESCAPE '!', a NOT LIKE b, a LIKE 'x\\_'",
        expect![[r#"
            SELECT p AND a IS NOT DISTINCT FROM b + 1 AND c OR d AS `EXPR$0`, a LIKE '50\%' ESCAPE '\' AS `EXPR$1`, a NOT LIKE replace(b, '\', '\\') ESCAPE '\' AS `EXPR$2`, a LIKE 'x\\_' ESCAPE '\' AS `EXPR$3`
        "#]],
    );
}

#[test]
fn structures() {
    check_expr(
        "ARRAY[1, 2], MAP['a', 1, 'b', 2], ROW(1, 'x'), a.b.c, arr[1], m['k'].x",
        expect![[r#"
            SELECT ARRAY[1, 2] AS `EXPR$0`, map(ARRAY['a', 'b'], ARRAY[1, 2]) AS `EXPR$1`, named_struct('EXPR$0', 1, 'EXPR$1', 'x') AS `EXPR$2`, a.b.c AS `c`, arr[1] AS `EXPR$4`, m['k'].'x' AS `x`
        "#]],
    );
    check_expr(
        "IF(a > 1, b, c), IFNULL(a, b), a IS DISTINCT FROM b, CASE a WHEN 1 THEN 2 ELSE 3 END",
        expect![[r#"
            SELECT CASE WHEN a > 1 THEN b ELSE c END AS `EXPR$0`, coalesce(a, b) AS `EXPR$1`, a IS DISTINCT FROM b AS `EXPR$2`, CASE a WHEN 1 THEN 2 ELSE 3 END AS `EXPR$3`
        "#]],
    );
    check_expr(
        "COUNT(DISTINCT a) FILTER (WHERE b > 1), LISTAGG(x, ','), FIRST_VALUE(a), a <> b AND NOT c",
        expect![[r#"
            SELECT COUNT(DISTINCT a) FILTER (WHERE b > 1) AS `EXPR$0`, LISTAGG(x, ',') AS `EXPR$1`, FIRST_VALUE(a) AS `EXPR$2`, a <> b AND NOT c AS `EXPR$3`
        "#]],
    );
}

#[test]
fn unnest() {
    check(
        "SELECT a, x FROM t CROSS JOIN UNNEST(t.arr) AS u (x)",
        expect![[r#"
        SELECT a, x FROM t CROSS JOIN LATERAL (SELECT __unnest('{"index":0,"count":1,"ordinality":false,"line":1,"column":31}', t.arr) AS x) AS u
    "#]],
    );
    check(
        "SELECT * FROM t LEFT JOIN UNNEST(m) WITH ORDINALITY AS u (k, v, n) ON TRUE",
        expect![[r#"
        SELECT * FROM t LEFT JOIN LATERAL (SELECT __unnest('{"index":0,"count":2,"ordinality":false,"line":1,"column":27}', m) AS k, __unnest('{"index":1,"count":2,"ordinality":false,"line":1,"column":27}', m) AS v, __unnest('{"index":2,"count":2,"ordinality":true,"line":1,"column":27}', m) AS n) AS u ON true
    "#]],
    );
    check(
        "SELECT * FROM t, UNNEST(arr) AS u",
        expect![[r#"
        SELECT * FROM t CROSS JOIN LATERAL (SELECT __unnest('{"index":0,"count":1,"ordinality":false,"line":1,"column":18}', arr) AS `f0`) AS u
    "#]],
    );
    check(
        "SELECT * FROM UNNEST(ARRAY[1, 2]) AS u (x)",
        expect![[r#"
        SELECT * FROM (SELECT __unnest('{"index":0,"count":1,"ordinality":false,"line":1,"column":15}', make_array(1, 2)) AS x) AS u
    "#]],
    );
}

#[test]
fn whole_queries() {
    check(
        "WITH a AS (SELECT 1 AS x) SELECT x, COUNT(*) AS n FROM (SELECT * FROM a UNION ALL SELECT 2) AS b (x)
         WHERE x IN (1, 2) GROUP BY GROUPING SETS ((x), ()) HAVING COUNT(*) > 1 ORDER BY n DESC LIMIT 5",
        expect![[r#"
            WITH a AS (SELECT 1 AS x) SELECT x, COUNT(*) AS n FROM (SELECT * FROM a UNION ALL SELECT 2 AS `EXPR$0`) AS b (x) WHERE x IN (1, 2) GROUP BY GROUPING SETS ((x), ()) HAVING COUNT(*) > 1 ORDER BY n DESC LIMIT 5
        "#]],
    );
    check(
        "VALUES (1, 'a'), (2, 'b')",
        expect![[r#"
        VALUES (1, 'a'), (2, 'b')
    "#]],
    );
    check(
        "SELECT * FROM (VALUES (1, 'a')) AS t (x, y)",
        expect![[r#"
        SELECT * FROM (VALUES (1, 'a')) AS t (x, y)
    "#]],
    );
    check(
        "SELECT * FROM `bids$late`, default_database.x",
        expect![[r#"
        SELECT * FROM `bids$late`, x
    "#]],
    );
}
