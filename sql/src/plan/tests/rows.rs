//! What jobs give, run in process from rows in memory; at two parallelisms, with the optional rules on and off.

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

fn fixture() -> Fixture {
    Fixture::new().with_rows("bid", BIDS).with_rows("click", "ann|2024-01-01 00:00:00\nbob|2024-01-01 00:00:00")
}

/// The rows of a query must be the same however it is run.
fn check(sql: &str, expected: Expect) {
    let rows = |fixture: Fixture, parallelism| {
        let mut fixture = fixture;
        fixture.rows_at(sql, parallelism).join("\n")
    };
    let first = rows(fixture(), 1);
    expected.assert_eq(&first);
    assert_eq!(rows(fixture(), 3), first, "parallelism 3: {sql}");
    let plain = fixture().set("tidemill.optimizer.enabled", "false");
    assert_eq!(rows(plain, 2), first, "without optional rules: {sql}");
    let one_phase = fixture().set("table.optimizer.agg-phase-strategy", "ONE_PHASE");
    assert_eq!(rows(one_phase, 2), first, "in one phase: {sql}");
}

/// The table that remains when all changes are applied.
fn check_table(sql: &str, expected: Expect) {
    let table = |parallelism| {
        let mut fixture = fixture();
        fixture.run(sql, parallelism);
        fixture.connectors.printed.table().join("\n")
    };
    let first = table(1);
    expected.assert_eq(&first);
    assert_eq!(table(3), first, "parallelism 3: {sql}");
}

#[test]
fn filter_and_project() {
    check(
        "SELECT auction, UPPER(bidder), double_price FROM bid WHERE price > 15 AND bidder <> 'cat'",
        expect![[r#"
        +I[1, BOB, 40]
        +I[2, ANN, 60]
        +I[3, BOB, 120]"#]],
    );
}

#[test]
fn a_guard_in_the_condition_prevents_the_failure() {
    check(
        "SELECT auction, price FROM bid WHERE price <> 10 AND 100 / (price - 10) > 4",
        expect![[r#"
        +I[1, 20]
        +I[2, 30]"#]],
    );
}

#[test]
fn tumbling_windows() {
    check(
        "SELECT window_start, window_end, bidder, COUNT(*), SUM(price), COUNT(price), AVG(price), MIN(price)
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, bidder",
        expect![[r#"
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:10, ann, 2, 40, 2, 20, 10]
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:10, bob, 1, 20, 1, 20, 20]
            +I[2024-01-01T00:00:10, 2024-01-01T00:00:20, ann, 1, NULL, 0, NULL, NULL]
            +I[2024-01-01T00:00:10, 2024-01-01T00:00:20, cat, 1, 40, 1, 40, 40]
            +I[2024-01-01T00:01:00, 2024-01-01T00:01:10, bob, 1, 60, 1, 60, 60]"#]],
    );
    check(
        "SELECT window_start, window_time, COUNT(DISTINCT bidder) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end, window_time",
        expect![[r#"
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:59.999, 3]
            +I[2024-01-01T00:01:00, 2024-01-01T00:01:59.999, 1]"#]],
    );
}

#[test]
fn hopping_and_cumulating_windows() {
    check(
        "SELECT window_start, window_end, COUNT(*) FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))
         WHERE bidder = 'ann' GROUP BY window_start, window_end",
        expect![[r#"
            +I[2023-12-31T23:59:55, 2024-01-01T00:00:05, 1]
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:10, 2]
            +I[2024-01-01T00:00:05, 2024-01-01T00:00:15, 2]
            +I[2024-01-01T00:00:10, 2024-01-01T00:00:20, 1]"#]],
    );
    check(
        "SELECT window_start, window_end, SUM(price) FROM TABLE(CUMULATE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end HAVING SUM(price) > 60",
        expect![[r#"
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:20, 100]
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:30, 100]
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:40, 100]
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:50, 100]
            +I[2024-01-01T00:00:00, 2024-01-01T00:01:00, 100]"#]],
    );
}

#[test]
fn session_windows() {
    check(
        "SELECT window_start, window_end, bidder, COUNT(*) FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '6' SECOND))
         GROUP BY window_start, window_end, bidder",
        expect![[r#"
            +I[2024-01-01T00:00:01, 2024-01-01T00:00:07, ann, 1]
            +I[2024-01-01T00:00:03, 2024-01-01T00:00:09, bob, 1]
            +I[2024-01-01T00:00:09, 2024-01-01T00:00:20, ann, 2]
            +I[2024-01-01T00:00:12, 2024-01-01T00:00:18, cat, 1]
            +I[2024-01-01T00:01:05, 2024-01-01T00:01:11, bob, 1]"#]],
    );
    check(
        "SELECT window_start, window_end, auction, COUNT(*) FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '6' SECOND))
         WHERE price > 5 GROUP BY window_start, window_end, auction",
        expect![[r#"
            +I[2024-01-01T00:00:01, 2024-01-01T00:00:07, 1, 1]
            +I[2024-01-01T00:00:03, 2024-01-01T00:00:09, 1, 1]
            +I[2024-01-01T00:00:09, 2024-01-01T00:00:20, 2, 1]
            +I[2024-01-01T00:00:12, 2024-01-01T00:00:18, 2, 1]
            +I[2024-01-01T00:01:05, 2024-01-01T00:01:11, 3, 1]"#]],
    );
}

#[test]
fn windows_cascade() {
    check(
        "SELECT window_start, window_end, MAX(total) AS best FROM (
           SELECT window_start, window_end, bidder, SUM(price) AS total
           FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, bidder)
         GROUP BY window_start, window_end",
        expect![[r#"
            +I[2024-01-01T00:00:00, 2024-01-01T00:00:10, 40]
            +I[2024-01-01T00:00:10, 2024-01-01T00:00:20, 40]
            +I[2024-01-01T00:01:00, 2024-01-01T00:01:10, 60]"#]],
    );
    check(
        "CREATE VIEW small AS SELECT window_time AS wt, bidder, SUM(price) AS total
           FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time, bidder;
         SELECT window_start, SUM(total), COUNT(*) FROM TABLE(TUMBLE(TABLE small, DESCRIPTOR(wt), INTERVAL '1' MINUTE))
           GROUP BY window_start, window_end",
        expect![[r#"
            +I[2024-01-01T00:00:00, 100, 4]
            +I[2024-01-01T00:01:00, 60, 1]"#]],
    );
}

#[test]
fn rows_keep_their_windows_without_aggregation() {
    check(
        "SELECT bidder, window_start, window_time FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND)) WHERE price > 35",
        expect![[r#"
            +I[bob, 2024-01-01T00:01:00, 2024-01-01T00:01:09.999]
            +I[bob, 2024-01-01T00:01:05, 2024-01-01T00:01:14.999]
            +I[cat, 2024-01-01T00:00:05, 2024-01-01T00:00:14.999]
            +I[cat, 2024-01-01T00:00:10, 2024-01-01T00:00:19.999]"#]],
    );
}

#[test]
fn grouping_sets() {
    check(
        "SELECT window_start, bidder, auction, GROUPING(bidder) AS gb, GROUPING_ID(bidder, auction) AS g, COUNT(*)
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end, ROLLUP (bidder, auction)",
        expect![[r#"
            +I[2024-01-01T00:00:00, NULL, NULL, 1, 3, 3]
            +I[2024-01-01T00:00:00, ann, 1, 0, 0, 1]
            +I[2024-01-01T00:00:00, ann, 2, 0, 0, 1]
            +I[2024-01-01T00:00:00, ann, NULL, 0, 1, 2]
            +I[2024-01-01T00:00:00, bob, 1, 0, 0, 1]
            +I[2024-01-01T00:00:00, bob, NULL, 0, 1, 1]
            +I[2024-01-01T00:00:10, NULL, NULL, 1, 3, 2]
            +I[2024-01-01T00:00:10, ann, 3, 0, 0, 1]
            +I[2024-01-01T00:00:10, ann, NULL, 0, 1, 1]
            +I[2024-01-01T00:00:10, cat, 2, 0, 0, 1]
            +I[2024-01-01T00:00:10, cat, NULL, 0, 1, 1]
            +I[2024-01-01T00:01:00, NULL, NULL, 1, 3, 1]
            +I[2024-01-01T00:01:00, bob, 3, 0, 0, 1]
            +I[2024-01-01T00:01:00, bob, NULL, 0, 1, 1]"#]],
    );
    check_table(
        "SELECT bidder, auction, COUNT(*) FROM bid GROUP BY GROUPING SETS ((bidder), (auction), ())",
        expect![[r#"
        [NULL, 1, 2]
        [NULL, 2, 2]
        [NULL, 3, 2]
        [NULL, NULL, 6]
        [ann, NULL, 3]
        [bob, NULL, 2]
        [cat, NULL, 1]"#]],
    );
}

#[test]
fn changelogs() {
    check_table(
        "SELECT bidder, SUM(price), COUNT(*) FROM bid GROUP BY bidder",
        expect![[r#"
        [ann, 40, 3]
        [bob, 80, 2]
        [cat, 40, 1]"#]],
    );
    check_table(
        "SELECT bidder, COUNT(*) FILTER (WHERE price > 15) FROM bid GROUP BY bidder HAVING COUNT(*) > 1",
        expect![[r#"
        [ann, 1]
        [bob, 2]"#]],
    );
    check_table("SELECT COUNT(*), MAX(price) FROM bid", expect!["[6, 60]"]);
    check(
        "SELECT DISTINCT bidder FROM bid",
        expect![[r#"
        +I[ann]
        +I[bob]
        +I[cat]"#]],
    );
}

#[test]
fn first_and_last_go_by_event_time() {
    check(
        "SELECT window_start, FIRST_VALUE(bidder), LAST_VALUE(bidder) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         GROUP BY window_start, window_end",
        expect![[r#"
            +I[2024-01-01T00:00:00, ann, ann]
            +I[2024-01-01T00:00:10, cat, ann]
            +I[2024-01-01T00:01:00, bob, bob]"#]],
    );
}

#[test]
fn unions_unnest_and_values() {
    check(
        "SELECT bidder FROM bid WHERE price > 30 UNION ALL SELECT who FROM click UNION ALL VALUES ('v')",
        expect![[r#"
        +I[ann]
        +I[bob]
        +I[bob]
        +I[cat]
        +I[v]"#]],
    );
    check(
        "SELECT bidder, tag FROM bid CROSS JOIN UNNEST(tags) AS t (tag)",
        expect![[r#"
        +I[ann, 1]
        +I[ann, 2]
        +I[ann, 7]
        +I[bob, 3]
        +I[bob, 8]
        +I[cat, 4]
        +I[cat, 5]
        +I[cat, 6]"#]],
    );
    check(
        "SELECT bidder, tag, o FROM bid LEFT JOIN UNNEST(tags) WITH ORDINALITY AS t (tag, o) ON TRUE WHERE bidder = 'ann'",
        expect![[r#"
        +I[ann, 1, 1]
        +I[ann, 2, 2]
        +I[ann, 7, 1]
        +I[ann, NULL, NULL]"#]],
    );
    check(
        "SELECT * FROM (VALUES (1, 'a'), (2, CAST(NULL AS STRING))) AS t (n, s)",
        expect![[r#"
        +I[1, a]
        +I[2, NULL]"#]],
    );
    check("SELECT 1 + 2, 'a' || 'b'", expect!["+I[3, ab]"]);
}

#[test]
fn zoned_windows_follow_the_session() {
    let rows = "a|1|2024-01-01T00:30:00Z\na|2|2024-01-01T23:30:00Z\nb|3|2024-01-02T12:00:00Z";
    let mut fixture = Fixture::new().set("table.local-time-zone", "Europe/Berlin").with_rows("ltz", rows);
    let sql =
        "CREATE TABLE z (k STRING, v INT, t TIMESTAMP_LTZ(3), WATERMARK FOR t AS t) WITH ('connector' = 'memory');
               SELECT window_start, window_time, SUM(v) FROM TABLE(TUMBLE(TABLE ltz, DESCRIPTOR(t), INTERVAL '1' DAY))
               GROUP BY window_start, window_end, window_time";
    expect![[r#"
        +I[2024-01-01T00:00:00, 2024-01-01T23:59:59.999+01:00, 1]
        +I[2024-01-02T00:00:00, 2024-01-02T23:59:59.999+01:00, 5]"#]]
    .assert_eq(&fixture.rows_at(sql, 1).join("\n"));
}

#[test]
fn late_rows_can_be_read() {
    let rows = "1|ann|10|2024-01-01 00:00:01|\n1|bob|20|2024-01-01 00:01:03|\n2|cat|30|2024-01-01 00:00:09|\n2|dan|-1|2024-01-01 00:00:10|";
    let mut fixture = Fixture::new().with_rows("bid", rows);
    fixture.run(
        "EXECUTE STATEMENT SET BEGIN
         INSERT INTO files SELECT window_start, bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))
           WHERE price > 0 GROUP BY window_start, window_end, bidder;
         INSERT INTO changes SELECT bidder, price + double_price FROM bid$late;
         END",
        1,
    );
    expect!["+I[cat, 90]"].assert_eq(&fixture.connectors.sinks["changes"].sorted_rows().join("\n"));
    expect![[r#"
        +I[2024-01-01T00:00:00, ann, 1]
        +I[2024-01-01T00:01:00, bob, 1]"#]]
    .assert_eq(&fixture.connectors.sinks["files"].sorted_rows().join("\n"));
}

#[test]
fn inserts_cast_and_fill() {
    let mut fixture = fixture();
    fixture.run("INSERT INTO narrow (a, e) SELECT 7, price FROM bid WHERE price > 50", 2);
    expect!["+I[7, NULL, 60.00]"].assert_eq(&fixture.connectors.sinks["narrow"].sorted_rows().join("\n"));
    fixture.run("INSERT INTO narrow (a, b, e) VALUES (1, 2, 3.5), (4, NULL, 6)", 1);
    expect![[r#"
        +I[1, 2.0, 3.50]
        +I[4, NULL, 6.00]
        +I[7, NULL, 60.00]"#]]
    .assert_eq(&fixture.connectors.sinks["narrow"].sorted_rows().join("\n"));
}

#[test]
fn casts_are_those_of_flink() {
    check(
        "SELECT CAST(ts AS STRING), CAST(price > 15 AS STRING), CAST(' 12 ' AS INT), CAST(bidder AS VARCHAR(2)), CAST(bidder AS CHAR(5)) || '|',
                TRY_CAST(bidder AS INT), CAST(price AS DECIMAL(5, 1)), CAST(ts AS DATE), CAST('2024-02-03' AS TIMESTAMP(3))
         FROM bid WHERE price >= 40",
        expect![[r#"
            +I[2024-01-01 00:00:12.000, TRUE, 12, ca, cat  |, NULL, 40.0, 2024-01-01, 2024-02-03T00:00:00]
            +I[2024-01-01 00:01:05.000, TRUE, 12, bo, bob  |, NULL, 60.0, 2024-01-01, 2024-02-03T00:00:00]"#]],
    );
    let mut zoned =
        Fixture::new().set("table.local-time-zone", "Asia/Tokyo").with_rows("ltz", "a|1|2024-01-01T20:30:00Z");
    let sql = "SELECT CAST(CAST('2024-01-01 20:30:00' AS TIMESTAMP_LTZ(3)) AS TIMESTAMP(3)), CAST(CAST('2024-01-01 20:30:00' AS TIMESTAMP_LTZ(3)) AS STRING),
               CAST(TO_TIMESTAMP_LTZ(0, 3) AS STRING), CAST(TO_TIMESTAMP_LTZ(0, 3) AS DATE)";
    expect!["+I[2024-01-01T20:30:00, 2024-01-01 20:30:00.000, 1970-01-01 09:00:00.000, 1970-01-01]"]
        .assert_eq(&zoned.rows_at(sql, 1).join("\n"));
}

#[test]
fn windows_over_subqueries_and_distinct_in_windows() {
    check(
        "WITH big AS (SELECT LOWER(bidder) AS who, price * 2 AS twice, ts FROM bid WHERE price > 10)
         SELECT window_start, who, SUM(twice), COUNT(*) FROM TABLE(TUMBLE(TABLE big, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end, who",
        expect![[r#"
            +I[2024-01-01T00:00:00, ann, 60, 1]
            +I[2024-01-01T00:00:00, bob, 40, 1]
            +I[2024-01-01T00:00:00, cat, 80, 1]
            +I[2024-01-01T00:01:00, bob, 120, 1]"#]],
    );
    check(
        "SELECT DISTINCT window_start, window_end, bidder FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
        expect![[r#"
            +I[2024-01-01T00:00:00, 2024-01-01T00:01:00, ann]
            +I[2024-01-01T00:00:00, 2024-01-01T00:01:00, bob]
            +I[2024-01-01T00:00:00, 2024-01-01T00:01:00, cat]
            +I[2024-01-01T00:01:00, 2024-01-01T00:02:00, bob]"#]],
    );
    check(
        "SELECT window_start, COUNT(DISTINCT bidder) FILTER (WHERE price > 15), SUM(DISTINCT price), LISTAGG(DISTINCT bidder)
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE bidder = 'bob' GROUP BY window_start, window_end",
        expect![[r#"
            +I[2024-01-01T00:00:00, 1, 20, bob]
            +I[2024-01-01T00:01:00, 1, 60, bob]"#]],
    );
}

#[test]
fn sessions_without_key_and_without_aggregation() {
    check(
        "SELECT window_start, window_end, COUNT(*) FROM TABLE(SESSION(TABLE bid, DESCRIPTOR(ts), INTERVAL '3' SECOND)) GROUP BY window_start, window_end",
        expect![[r#"
            +I[2024-01-01T00:00:01, 2024-01-01T00:00:06, 2]
            +I[2024-01-01T00:00:09, 2024-01-01T00:00:17, 3]
            +I[2024-01-01T00:01:05, 2024-01-01T00:01:08, 1]"#]],
    );
    check(
        "SELECT bidder, price, window_start, window_end FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '6' SECOND)) WHERE bidder <> 'cat'",
        expect![[r#"
            +I[ann, 10, 2024-01-01T00:00:01, 2024-01-01T00:00:07]
            +I[ann, 30, 2024-01-01T00:00:09, 2024-01-01T00:00:20]
            +I[ann, NULL, 2024-01-01T00:00:09, 2024-01-01T00:00:20]
            +I[bob, 20, 2024-01-01T00:00:03, 2024-01-01T00:00:09]
            +I[bob, 60, 2024-01-01T00:01:05, 2024-01-01T00:01:11]"#]],
    );
}

#[test]
fn inserts_in_another_order_and_with_constants() {
    let mut fixture = fixture();
    fixture.run("INSERT INTO changes (total, bidder) SELECT price, bidder FROM bid WHERE price = 60", 1);
    fixture.run("INSERT INTO changes PARTITION (bidder = 'fixed') SELECT auction FROM bid WHERE price = 60", 1);
    expect![[r#"
        +I[bob, 60]
        +I[fixed, 3]"#]]
    .assert_eq(&fixture.connectors.sinks["changes"].sorted_rows().join("\n"));
}

#[test]
fn a_null_for_a_column_that_takes_none_fails_the_job() {
    let error =
        fixture().try_run("INSERT INTO narrow (a, e) SELECT 7, price FROM bid", 1).expect_err("price is NULL once");
    expect![[r#"
        Calc: column `e` of `narrow` is NOT NULL, but the row has a NULL for it
          row: {price=NULL}
          hint: leave such rows out in a WHERE clause, or with SET 'table.exec.sink.not-null-enforcer' = 'DROP', or declare the column without NOT NULL"#]]
    .assert_eq(&error.to_string());
}
