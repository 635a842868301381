//! Window table functions and group windows as the derived tables that the planner gets.

use expect_test::{expect, expect_file};

use super::{check, check_all};

#[test]
fn table_functions() {
    check(
        "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' MINUTES))",
        expect![[r#"
        SELECT * FROM (SELECT *, __window_start('{"kind":{"Tumble":{"size":{"Millis":600000},"offset_ms":0}},"partition_by":[],"line":1,"column":21}', ts) AS `window_start`, __window_end('{"kind":{"Tumble":{"size":{"Millis":600000},"offset_ms":0}},"partition_by":[],"line":1,"column":21}', ts) AS `window_end`, __window_time('{"kind":{"Tumble":{"size":{"Millis":600000},"offset_ms":0}},"partition_by":[],"line":1,"column":21}', ts) AS `window_time` FROM bid) AS bid
    "#]],
    );
    check(
        "SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '1' MINUTE, INTERVAL '-1' SECOND)) AS w",
        expect![[r#"
            SELECT * FROM (SELECT *, __window_start('{"kind":{"Hop":{"size":{"Millis":60000},"slide":{"Millis":5000},"offset_ms":-1000}},"partition_by":[],"line":1,"column":21}', ts) AS `window_start`, __window_end('{"kind":{"Hop":{"size":{"Millis":60000},"slide":{"Millis":5000},"offset_ms":-1000}},"partition_by":[],"line":1,"column":21}', ts) AS `window_end`, __window_time('{"kind":{"Hop":{"size":{"Millis":60000},"slide":{"Millis":5000},"offset_ms":-1000}},"partition_by":[],"line":1,"column":21}', ts) AS `window_time` FROM bid) AS w
        "#]],
    );
    check(
        "SELECT * FROM TABLE(CUMULATE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), STEP => INTERVAL '2' HOUR, SIZE => INTERVAL '1' DAY, `OFFSET` => INTERVAL '1' HOUR))",
        expect![[r#"
            SELECT * FROM (SELECT *, __window_start('{"kind":{"Cumulate":{"size":{"Millis":86400000},"step":{"Millis":7200000},"offset_ms":3600000}},"partition_by":[],"line":1,"column":21}', ts) AS `window_start`, __window_end('{"kind":{"Cumulate":{"size":{"Millis":86400000},"step":{"Millis":7200000},"offset_ms":3600000}},"partition_by":[],"line":1,"column":21}', ts) AS `window_end`, __window_time('{"kind":{"Cumulate":{"size":{"Millis":86400000},"step":{"Millis":7200000},"offset_ms":3600000}},"partition_by":[],"line":1,"column":21}', ts) AS `window_time` FROM bid) AS bid
        "#]],
    );
    check(
        "SELECT bid.price FROM SESSION(TABLE bid PARTITION BY a, b, DESCRIPTOR(ts), INTERVAL '5' MINUTE)",
        expect![[r#"
            SELECT bid.price FROM (SELECT *, __window_start('{"kind":{"Session":{"gap_ms":300000}},"partition_by":["a","b"],"line":1,"column":23}', ts) AS `window_start`, __window_end('{"kind":{"Session":{"gap_ms":300000}},"partition_by":["a","b"],"line":1,"column":23}', ts) AS `window_end`, __window_time('{"kind":{"Session":{"gap_ms":300000}},"partition_by":["a","b"],"line":1,"column":23}', ts) AS `window_time` FROM bid) AS bid
        "#]],
    );
    check(
        "SELECT * FROM SESSION(DATA => TABLE bid PARTITION BY (a, b), TIMECOL => DESCRIPTOR(ts), GAP => INTERVAL '5' MINUTE) s",
        expect![[r#"
            SELECT * FROM (SELECT *, __window_start('{"kind":{"Session":{"gap_ms":300000}},"partition_by":["a","b"],"line":1,"column":15}', ts) AS `window_start`, __window_end('{"kind":{"Session":{"gap_ms":300000}},"partition_by":["a","b"],"line":1,"column":15}', ts) AS `window_end`, __window_time('{"kind":{"Session":{"gap_ms":300000}},"partition_by":["a","b"],"line":1,"column":15}', ts) AS `window_time` FROM bid) s
        "#]],
    );
    check(
        "SELECT * FROM TUMBLE(TABLE(SELECT * FROM bid WHERE x > 1), DESCRIPTOR(ts), INTERVAL '1' MONTH) t",
        expect![[r#"
            SELECT * FROM (SELECT *, __window_start('{"kind":{"Tumble":{"size":{"Months":1},"offset_ms":0}},"partition_by":[],"line":1,"column":15}', ts) AS `window_start`, __window_end('{"kind":{"Tumble":{"size":{"Months":1},"offset_ms":0}},"partition_by":[],"line":1,"column":15}', ts) AS `window_end`, __window_time('{"kind":{"Tumble":{"size":{"Months":1},"offset_ms":0}},"partition_by":[],"line":1,"column":15}', ts) AS `window_time` FROM (SELECT * FROM bid WHERE x > 1)) t
        "#]],
    );
    check(
        "SELECT * FROM TUMBLE(TABLE(bid), DESCRIPTOR(`t s`), INTERVAL '1' MONTH, offset => INTERVAL '1' DAY)",
        expect![[r#"
            SELECT * FROM (SELECT *, __window_start('{"kind":{"Tumble":{"size":{"Months":1},"offset_ms":86400000}},"partition_by":[],"line":1,"column":15}', `t s`) AS `window_start`, __window_end('{"kind":{"Tumble":{"size":{"Months":1},"offset_ms":86400000}},"partition_by":[],"line":1,"column":15}', `t s`) AS `window_end`, __window_time('{"kind":{"Tumble":{"size":{"Months":1},"offset_ms":86400000}},"partition_by":[],"line":1,"column":15}', `t s`) AS `window_time` FROM bid) AS bid
        "#]],
    );
}

#[test]
fn group_windows() {
    check(
        "SELECT a, TUMBLE_START(ts, INTERVAL '1' HOUR) AS s, SUM(b.x) FROM bid b GROUP BY a, TUMBLE(ts, INTERVAL '1' HOUR)
         HAVING TUMBLE_END(ts, INTERVAL '1' HOUR) > x ORDER BY TUMBLE_ROWTIME(ts, INTERVAL '1' HOUR)",
        expect![[r#"
            SELECT a, `window_start` AS s, SUM(b.x) AS `EXPR$2` FROM (SELECT *, __window_start('{"kind":{"Tumble":{"size":{"Millis":3600000},"offset_ms":0}},"partition_by":[],"line":1,"column":85}', ts) AS `window_start`, __window_end('{"kind":{"Tumble":{"size":{"Millis":3600000},"offset_ms":0}},"partition_by":[],"line":1,"column":85}', ts) AS `window_end`, __window_time('{"kind":{"Tumble":{"size":{"Millis":3600000},"offset_ms":0}},"partition_by":[],"line":1,"column":85}', ts) AS `window_time` FROM bid b) AS b GROUP BY a, `window_start`, `window_end`, `window_time` HAVING `window_end` > x ORDER BY `window_time`
        "#]],
    );
    check(
        "SELECT COUNT(*) FROM bid GROUP BY HOP(ts, INTERVAL '5' SECOND, INTERVAL '1' MINUTE)",
        expect![[r#"
            SELECT COUNT(*) AS `EXPR$0` FROM (SELECT *, __window_start('{"kind":{"Hop":{"size":{"Millis":60000},"slide":{"Millis":5000},"offset_ms":0}},"partition_by":[],"line":1,"column":35}', ts) AS `window_start`, __window_end('{"kind":{"Hop":{"size":{"Millis":60000},"slide":{"Millis":5000},"offset_ms":0}},"partition_by":[],"line":1,"column":35}', ts) AS `window_end`, __window_time('{"kind":{"Hop":{"size":{"Millis":60000},"slide":{"Millis":5000},"offset_ms":0}},"partition_by":[],"line":1,"column":35}', ts) AS `window_time` FROM bid) AS bid GROUP BY `window_start`, `window_end`, `window_time`
        "#]],
    );
    check(
        "SELECT SESSION_END(ts, INTERVAL '5' SECOND) FROM bid GROUP BY k, bid.j, SESSION(ts, INTERVAL '5' SECOND)",
        expect![[r#"
            SELECT `window_end` AS `EXPR$0` FROM (SELECT *, __window_start('{"kind":{"Session":{"gap_ms":5000}},"partition_by":["k","j"],"line":1,"column":73}', ts) AS `window_start`, __window_end('{"kind":{"Session":{"gap_ms":5000}},"partition_by":["k","j"],"line":1,"column":73}', ts) AS `window_end`, __window_time('{"kind":{"Session":{"gap_ms":5000}},"partition_by":["k","j"],"line":1,"column":73}', ts) AS `window_time` FROM bid) AS bid GROUP BY k, bid.j, `window_start`, `window_end`, `window_time`
        "#]],
    );
    check(
        "SELECT 1 FROM bid GROUP BY GROUPING SETS ((TUMBLE(ts, INTERVAL '1' DAY), a), (TUMBLE(ts, INTERVAL '1' DAY)))",
        expect![[r#"
            SELECT 1 AS `EXPR$0` FROM (SELECT *, __window_start('{"kind":{"Tumble":{"size":{"Millis":86400000},"offset_ms":0}},"partition_by":[],"line":1,"column":44}', ts) AS `window_start`, __window_end('{"kind":{"Tumble":{"size":{"Millis":86400000},"offset_ms":0}},"partition_by":[],"line":1,"column":44}', ts) AS `window_end`, __window_time('{"kind":{"Tumble":{"size":{"Millis":86400000},"offset_ms":0}},"partition_by":[],"line":1,"column":44}', ts) AS `window_time` FROM bid) AS bid GROUP BY GROUPING SETS ((`window_start`, `window_end`, `window_time`, a), (`window_start`, `window_end`, `window_time`))
        "#]],
    );
}

#[test]
fn wrong_windows() {
    check_all(
        &[
            "SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(ts))",
            "SELECT * FROM TABLE(TUMBLE(TABLE bid, ts, INTERVAL '1' MINUTE))",
            "SELECT * FROM TABLE(TUMBLE(bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
            "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), 10))",
            "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '0' MINUTE))",
            "SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), SIZE => INTERVAL '10' MINUTS))",
            "SELECT * FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(ts), INTERVAL '7' MINUTE, INTERVAL '1' HOUR))",
            "SELECT * FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(ts), INTERVAL '2' HOUR, INTERVAL '1' HOUR))",
            "SELECT * FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MONTH, INTERVAL '1' DAY))",
            "SELECT * FROM TABLE(TUMBEL(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' DAY))",
            "SELECT * FROM TUMBEL(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "SELECT * FROM HOP(TABLE bid, DESCRIPTOR(ts), SLIDES => INTERVAL '1' DAY, SIZE => INTERVAL '1' DAY)",
            "SELECT * FROM TUMBLE(TABLE bid PARTITION BY a, DESCRIPTOR(ts), INTERVAL '1' DAY)",
            "SELECT * FROM SESSION(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MONTH)",
            "SELECT TUMBLE_START(ts, INTERVAL '2' HOUR) FROM bid GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)",
            "SELECT TUMBLE(ts, INTERVAL '2' HOUR) FROM bid",
            "SELECT TUMBLE_END(ts, INTERVAL '2' HOUR) FROM bid",
            "SELECT 1 FROM bid GROUP BY TUMBLE(ts, INTERVAL '1' HOUR), TUMBLE(ts, INTERVAL '2' HOUR)",
            "SELECT 1 FROM a JOIN b ON a.x = b.x GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)",
            "SELECT 1 FROM a GROUP BY x + 1, SESSION(ts, INTERVAL '1' HOUR)",
        ],
        expect_file!["expected/wrong_windows.txt"],
    );
}
