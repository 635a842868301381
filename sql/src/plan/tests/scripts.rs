//! Queries as Flink's users write them.

use expect_test::{Expect, expect};

use super::fixture::Fixture;

const BIDS: &str = "
    1|ann|10|2024-01-01 00:00:01|1,2
    1|bob|20|2024-01-01 00:00:03|3
    2|ann|30|2024-01-01 00:00:09|
    2|cat|40|2024-01-01 00:00:12|4,5,6
    3|ann||2024-01-01 00:00:14|7
    3|bob|60|2024-01-01 00:01:05|8
";

/// The table that the query gives, or what is wrong with it.
fn check(sql: &str, expected: Expect) {
    let fixture =
        || Fixture::new().with_rows("bid", BIDS).with_rows("click", "ann|2024-01-01 00:00:00\nbob|2024-01-01 00:00:00");
    let text = fixture().graph(sql);
    if text.starts_with("error") {
        expected.assert_eq(&text);
        return;
    }
    let run = |parallelism| fixture().table_of(sql, parallelism).map_or_else(|error| error, |rows| rows.join("\n"));
    let rows = run(1);
    expected.assert_eq(&rows);
    assert_eq!(run(2), rows, "{sql}");
}

#[test]
fn expressions() {
    check(
        "SELECT b.bidder, b.price BETWEEN 10 AND 20, b.auction IN (1, 3), b.bidder LIKE '%n' FROM bid AS b",
        expect![[r#"
        [ann, NULL, true, true]
        [ann, false, false, true]
        [ann, true, true, true]
        [bob, false, true, false]
        [bob, true, true, false]
        [cat, false, false, false]"#]],
    );
    check(
        "SELECT EXTRACT(SECOND FROM ts), TIMESTAMPDIFF(SECOND, TIMESTAMP '2024-01-01 00:00:00', ts), FLOOR(ts TO MINUTE), ts + INTERVAL '1' DAY FROM bid WHERE ts > TIMESTAMP '2024-01-01 00:00:10'",
        expect![[r#"
        [12, 12, 2024-01-01T00:00:00, 2024-01-02T00:00:12]
        [14, 14, 2024-01-01T00:00:00, 2024-01-02T00:00:14]
        [5, 65, 2024-01-01T00:01:00, 2024-01-02T00:01:05]"#]],
    );
    check(
        "SELECT ROW(price, bidder).EXPR$0, MAP['a', price]['a'], ARRAY[price, 1][2], CARDINALITY(tags) FROM bid WHERE auction = 2",
        expect![[r#"
        [30, 30, 1, NULL]
        [40, 40, 1, 3]"#]],
    );
    check(
        "SELECT CASE bidder WHEN 'ann' THEN 1 WHEN 'bob' THEN 2 END, NULLIF(price, 10), COALESCE(price, -1), IF(price > 20, 'hi', 'lo') FROM bid",
        expect![[r#"
        [1, 30, 30, hi]
        [1, NULL, -1, lo]
        [1, NULL, 10, lo]
        [2, 20, 20, lo]
        [2, 60, 60, hi]
        [NULL, 40, 40, hi]"#]],
    );
    check(
        "SELECT * FROM (SELECT bidder, price FROM bid) AS s (who, what) WHERE what >= 40",
        expect![[r#"
        [bob, 60]
        [cat, 40]"#]],
    );
    check("SELECT price, price, bidder AS price FROM bid WHERE price = 60", expect!["[60, 60, bob]"]);
    check("SELECT bid.* FROM bid WHERE price = 60", expect!["[3, bob, 60, 2024-01-01T00:01:05, [8], 120]"]);
}

#[test]
fn window_functions_in_every_shape() {
    check(
        "SELECT w.window_start, COUNT(*) AS n FROM TABLE(TUMBLE(DATA => TABLE bid, TIMECOL => DESCRIPTOR(ts), SIZE => INTERVAL '10' SECOND)) AS w
         GROUP BY w.window_start, w.window_end",
        expect![[r#"
            [2024-01-01T00:00:00, 3]
            [2024-01-01T00:00:10, 2]
            [2024-01-01T00:01:00, 1]"#]],
    );
    check(
        "SELECT DATE_FORMAT(window_start, 'HH:mm:ss') AS s, SUM(price) / COUNT(*) AS a FROM (SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)))
         GROUP BY window_start, window_end HAVING SUM(price) > 40",
        expect![[r#"
            [00:00:00, 20]
            [00:01:00, 60]"#]],
    );
    check(
        "SELECT HOP_START(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND), HOP_ROWTIME(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND), COUNT(*)
         FROM bid WHERE bidder = 'ann' GROUP BY HOP(ts, INTERVAL '5' SECOND, INTERVAL '10' SECOND)",
        expect![[r#"
            [2023-12-31T23:59:55, 2024-01-01T00:00:04.999, 1]
            [2024-01-01T00:00:00, 2024-01-01T00:00:09.999, 2]
            [2024-01-01T00:00:05, 2024-01-01T00:00:14.999, 2]
            [2024-01-01T00:00:10, 2024-01-01T00:00:19.999, 1]"#]],
    );
    check(
        "SELECT bidder, SESSION_START(ts, INTERVAL '6' SECOND), SESSION_END(ts, INTERVAL '6' SECOND), COUNT(*) FROM bid GROUP BY bidder, SESSION(ts, INTERVAL '6' SECOND)",
        expect![[r#"
            [ann, 2024-01-01T00:00:01, 2024-01-01T00:00:07, 1]
            [ann, 2024-01-01T00:00:09, 2024-01-01T00:00:20, 2]
            [bob, 2024-01-01T00:00:03, 2024-01-01T00:00:09, 1]
            [bob, 2024-01-01T00:01:05, 2024-01-01T00:01:11, 1]
            [cat, 2024-01-01T00:00:12, 2024-01-01T00:00:18, 1]"#]],
    );
    check(
        "SELECT window_start, window_end, SUM(n) FROM (
           SELECT window_start, window_end, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE price > 20 GROUP BY window_start, window_end
           UNION ALL
           SELECT window_start, window_end, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) WHERE price <= 20 GROUP BY window_start, window_end)
         GROUP BY window_start, window_end",
        expect![[r#"
            [2024-01-01T00:00:00, 2024-01-01T00:00:10, 3]
            [2024-01-01T00:00:10, 2024-01-01T00:00:20, 1]
            [2024-01-01T00:01:00, 2024-01-01T00:01:10, 1]"#]],
    );
    check(
        "SELECT window_start, k, SUM(v) FROM TABLE(TUMBLE(TABLE both, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, k",
        expect![[r#"
            error: table or view `both` does not exist
             --> test.sql:1:56
              |
            1 | SELECT window_start, k, SUM(v) FROM TABLE(TUMBLE(TABLE both, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, k
              |                                                        ^^^^
        "#]],
    );
}

#[test]
fn windows_over_unions_and_unnested_rows() {
    check(
        "CREATE VIEW both AS SELECT ts, bidder AS k, price AS v FROM bid UNION ALL SELECT ts, 'all', 1 FROM bid;
         SELECT window_start, k, SUM(v) FROM TABLE(TUMBLE(TABLE both, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, k",
        expect![[r#"
            [2024-01-01T00:00:00, all, 5]
            [2024-01-01T00:00:00, ann, 40]
            [2024-01-01T00:00:00, bob, 20]
            [2024-01-01T00:00:00, cat, 40]
            [2024-01-01T00:01:00, all, 1]
            [2024-01-01T00:01:00, bob, 60]"#]],
    );
    check(
        "SELECT window_start, tag, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) CROSS JOIN UNNEST(tags) AS t (tag)
         WHERE tag > 4 GROUP BY window_start, window_end, tag",
        expect![[r#"
            [2024-01-01T00:00:00, 5, 1]
            [2024-01-01T00:00:00, 6, 1]
            [2024-01-01T00:00:00, 7, 1]
            [2024-01-01T00:01:00, 8, 1]"#]],
    );
    check(
        "CREATE VIEW tagged AS SELECT ts, tag FROM bid CROSS JOIN UNNEST(tags) AS t (tag);
         SELECT window_start, MAX(tag) FROM TABLE(TUMBLE(TABLE tagged, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        expect![[r#"
            [2024-01-01T00:00:00, 7]
            [2024-01-01T00:01:00, 8]"#]],
    );
}

#[test]
fn aggregates_in_every_shape() {
    check(
        "SELECT bidder, LISTAGG(CAST(price AS STRING), ';'), STDDEV_POP(price), VAR_SAMP(price) FROM bid WHERE bidder <> 'ann' GROUP BY bidder",
        expect![[r#"
        [bob, 20;60, 20.0, 800.0]
        [cat, 40, 0.0, NULL]"#]],
    );
    check(
        "SELECT MAX(bidder), MIN(ts), BOOL_AND(price > 5), APPROX_COUNT_DISTINCT(bidder), COUNT(DISTINCT bidder) FROM bid",
        expect!["[cat, 2024-01-01T00:00:01, true, 3, 3]"],
    );
    check(
        "SELECT auction, APPROX_PERCENTILE(price, 0.5) FROM bid GROUP BY auction",
        expect![[r#"
        [1, 15.0]
        [2, 35.0]
        [3, 60.0]"#]],
    );
    check(
        "SELECT auction, PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY price) FROM bid GROUP BY auction",
        expect![[r#"
        [1, 15.0]
        [2, 35.0]
        [3, 60.0]"#]],
    );
    check("SELECT bidder, ARRAY_AGG(price) FROM bid WHERE bidder = 'cat' GROUP BY bidder", expect!["[cat, [40]]"]);
    check(
        "SELECT auction * 10 AS ten, SUM(price) * 2 FROM bid GROUP BY auction * 10 HAVING MAX(price) > 20",
        expect![[r#"
        [20, 140]
        [30, 120]"#]],
    );
    check(
        "SELECT FLOOR(ts TO MINUTE) AS m, bidder, COUNT(*) FROM bid GROUP BY FLOOR(ts TO MINUTE), bidder",
        expect![[r#"
        [2024-01-01T00:00:00, ann, 3]
        [2024-01-01T00:00:00, bob, 1]
        [2024-01-01T00:00:00, cat, 1]
        [2024-01-01T00:01:00, bob, 1]"#]],
    );
    check("SELECT COUNT(*) AS n, SUM(price) AS n2 FROM bid WHERE price > 1000", expect![[""]]);
    check(
        "SELECT bidder, MEDIAN(price) FROM bid GROUP BY bidder",
        expect![[r#"
        [ann, 20.0]
        [bob, 40.0]
        [cat, 40.0]"#]],
    );
}

#[test]
fn times_of_processing() {
    check(
        "SELECT CURRENT_WATERMARK(ts) IS NULL OR CURRENT_WATERMARK(ts) < ts FROM bid WHERE auction = 1",
        expect![[r#"
        [true]
        [true]"#]],
    );
    check(
        "SELECT COUNT(*) FROM TABLE(TUMBLE(TABLE click, DESCRIPTOR(pt), INTERVAL '100' DAY)) GROUP BY window_start, window_end",
        expect!["[2]"],
    );
    check(
        "SELECT who, COUNT(*) FROM (SELECT who, PROCTIME() AS p FROM click) GROUP BY who, TUMBLE(p, INTERVAL '100' DAY)",
        expect![[r#"
            [ann, 1]
            [bob, 1]"#]],
    );
    check(
        "SELECT window_start, SUM(n) FROM (SELECT window_start, window_end, who, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE click, DESCRIPTOR(pt), INTERVAL '1' DAY))
           GROUP BY window_start, window_end, who) GROUP BY window_start, window_end",
        expect![[r#"
            error: results of processing-time windows cannot be aggregated by the same window again
             --> test.sql:1:1
              |
            1 | SELECT window_start, SUM(n) FROM (SELECT window_start, window_end, who, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE click, DESCRIPTOR(pt), INTERVAL '1' DAY))
              | ^
            hint: aggregate once, or use event time
        "#]],
    );
}
