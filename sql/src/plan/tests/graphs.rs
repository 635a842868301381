//! Which operators a query becomes.

use expect_test::{Expect, expect};

use super::fixture::Fixture;

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&Fixture::new().graph(sql));
}

#[test]
fn filter_and_columns_are_one_calc() {
    check(
        "SELECT bidder, price + 1 AS next FROM bid WHERE price > 10 AND bidder <> 'x'",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder, price
        #1 Calc <- #0 forward [parallelism=job, changelog=I]
             select: bidder, price + 1 AS next
             where: price > 10 AND bidder <> 'x'
        #2 Sink(print) <- #1 forward [parallelism=job, changelog=I]
             guarantee: exactly once
    "#]],
    );
}

#[test]
fn one_table_is_read_once_by_several_inserts() {
    check(
        "EXECUTE STATEMENT SET BEGIN
         INSERT INTO changes SELECT bidder, auction FROM bid;
         INSERT INTO changes SELECT 'x', price FROM bid WHERE double_price > 5;
         END",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: auction, bidder, price, price * 2 AS double_price
            #1 Calc <- #0 forward [parallelism=job, changelog=I]
                 select: bidder, auction AS total
            #2 Sink(changes) <- #1 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
            #3 Calc <- #0 forward [parallelism=job, changelog=I]
                 select: 'x' AS bidder, CAST(price AS BIGINT) AS total
                 where: double_price > 5
            #4 Sink(changes) <- #3 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn tumbling_count_is_split_around_the_exchange() {
    check(
        "INSERT INTO files SELECT window_start, bidder, COUNT(*) AS total
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, bidder",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 LocalWindowAggregate <- #0 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 10 s) by ts
                 group by: bidder
                 aggregates: COUNT(*)
                 state: aggregates per key and window; freed when a window closes
            #2 GlobalWindowAggregate <- #1 hash(bidder) [parallelism=job, changelog=I]
                 window: TUMBLE(size 10 s) by ts
                 group by: bidder
                 aggregates: COUNT(*)
                 state: aggregates per key and window; freed when a window closes
            #3 Calc <- #2 forward [parallelism=job, changelog=I]
                 select: window_start, bidder, COUNT(*) AS total
            #4 Sink(files) <- #3 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn older_group_window_is_the_same() {
    check(
        "SELECT TUMBLE_START(ts, INTERVAL '1' HOUR) AS s, SUM(price) AS total FROM bid
         GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 LocalWindowAggregate <- #0 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 h) by ts
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #2 GlobalWindowAggregate <- #1 single [parallelism=1, changelog=I]
                 window: TUMBLE(size 1 h) by ts
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #3 Calc <- #2 forward [parallelism=1, changelog=I]
                 select: window_start AS s, SUM(price) AS total
            #4 Sink(print) <- #3 forward [parallelism=1, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn having_and_conditions_on_the_window_come_after() {
    check(
        "SELECT window_end, bidder, AVG(price) FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))
         WHERE window_start > TIMESTAMP '2024-01-01 00:00:00' AND price > 0
         GROUP BY window_start, window_end, bidder HAVING COUNT(*) > 1",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 Calc <- #0 forward [parallelism=job, changelog=I]
                 select: bidder, price, ts
                 where: price > 0
            #2 LocalWindowAggregate <- #1 forward [parallelism=job, changelog=I]
                 window: HOP(size 10 s, slide 5 s) by ts
                 group by: bidder
                 aggregates: AVG(price), COUNT(*)
                 state: aggregates per key and window; freed when a window closes
            #3 GlobalWindowAggregate <- #2 hash(bidder) [parallelism=job, changelog=I]
                 window: HOP(size 10 s, slide 5 s) by ts
                 group by: bidder
                 aggregates: AVG(price), COUNT(*)
                 state: aggregates per key and window; freed when a window closes
            #4 Calc <- #3 forward [parallelism=job, changelog=I]
                 select: window_end, bidder, AVG(price) AS EXPR$2
                 where: window_start > TIMESTAMP '2024-01-01 00:00:00' AND COUNT(*) > 1
            #5 Sink(print) <- #4 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn windows_cascade() {
    check(
        "CREATE VIEW small AS SELECT window_start AS s, window_end AS e, window_time AS wt, bidder, SUM(price) AS total
           FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, window_time, bidder;
         SELECT window_start, window_end, SUM(total) AS total FROM TABLE(TUMBLE(TABLE small, DESCRIPTOR(wt), INTERVAL '1' HOUR))
           GROUP BY window_start, window_end",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 LocalWindowAggregate <- #0 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #2 GlobalWindowAggregate <- #1 hash(bidder) [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #3 Calc <- #2 forward [parallelism=job, changelog=I]
                 select: SUM(price), window_time
            #4 LocalWindowAggregate <- #3 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 h) by window_time
                 aggregates: SUM(total)
                 state: aggregates per key and window; freed when a window closes
            #5 GlobalWindowAggregate <- #4 single [parallelism=1, changelog=I]
                 window: TUMBLE(size 1 h) by window_time
                 aggregates: SUM(total)
                 state: aggregates per key and window; freed when a window closes
            #6 Calc <- #5 forward [parallelism=1, changelog=I]
                 select: window_start, window_end, SUM(total) AS total
            #7 Sink(print) <- #6 forward [parallelism=1, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn the_same_window_again_is_attached() {
    check(
        "SELECT window_start, window_end, MAX(total) AS best FROM (
           SELECT window_start, window_end, bidder, SUM(price) AS total
           FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, bidder)
         GROUP BY window_start, window_end",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 LocalWindowAggregate <- #0 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #2 GlobalWindowAggregate <- #1 hash(bidder) [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #3 Calc <- #2 forward [parallelism=job, changelog=I]
                 select: SUM(price), window_start, window_end
            #4 WindowAggregate <- #3 single [parallelism=1, changelog=I]
                 window: window_start to window_end, as the rows carry them
                 aggregates: MAX(total)
                 state: aggregates per key and window; freed when a window closes
            #5 Calc <- #4 forward [parallelism=1, changelog=I]
                 select: window_start, window_end, MAX(total) AS best
            #6 Sink(print) <- #5 forward [parallelism=1, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn sessions() {
    check(
        "SELECT window_start, window_end, bidder, COUNT(*) FROM TABLE(
           SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
         GROUP BY window_start, window_end, bidder",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 SessionAggregate <- #0 hash(bidder) [parallelism=job, changelog=I]
                 window: SESSION(gap 10 min) by ts
                 group by: bidder
                 aggregates: COUNT(*)
                 state: aggregates per key and open session; freed when the session closes
            #2 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: window_start, window_end, bidder, COUNT(*) AS EXPR$3
            #3 Sink(print) <- #2 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
    check(
        "SELECT window_start, window_end, auction, COUNT(*) FROM TABLE(
           SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
         WHERE price > 1 GROUP BY window_start, window_end, auction",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: auction, bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 SessionAssign <- #0 hash(bidder) [parallelism=job, changelog=I]
                 window: SESSION(gap 10 min)
                 partition by: bidder
                 state: rows by key and open session; freed when the session closes
            #2 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: auction, window_start, window_end
                 where: price > 1
            #3 WindowAggregate <- #2 hash(auction) [parallelism=job, changelog=I]
                 window: window_start to window_end, as the rows carry them
                 group by: auction
                 aggregates: COUNT(*)
                 state: aggregates per key and window; freed when a window closes
            #4 Calc <- #3 forward [parallelism=job, changelog=I]
                 select: window_start, window_end, auction, COUNT(*) AS EXPR$3
            #5 Sink(print) <- #4 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn a_window_without_aggregation_is_assigned() {
    check(
        "SELECT bidder, window_start, window_time FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE price > 1",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 WindowAssign <- #0 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min)
            #2 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: bidder, window_start, window_time
                 where: price > 1
            #3 Sink(print) <- #2 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn grouping_sets_multiply_rows() {
    check(
        "SELECT window_start, window_end, bidder, auction, GROUPING(bidder) AS g, SUM(price) AS total
         FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end, GROUPING SETS ((bidder, auction), (bidder), ())",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: auction, bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 Calc <- #0 forward [parallelism=job, changelog=I]
                 select: bidder, auction, price, ts
            #2 Expand <- #1 forward [parallelism=job, changelog=I]
                 grouping sets: (window_start, window_end, bidder, auction), (window_start, window_end, bidder), (window_start, window_end)
            #3 LocalWindowAggregate <- #2 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder, auction, grouping_id
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #4 GlobalWindowAggregate <- #3 hash(bidder, auction, grouping_id) [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder, auction, grouping_id
                 aggregates: SUM(price)
                 state: aggregates per key and window; freed when a window closes
            #5 Calc <- #4 forward [parallelism=job, changelog=I]
                 select: window_start, window_end, bidder, auction, CAST(grouping_id & 2 >> 1 AS INT) AS g, SUM(price) AS total
            #6 Sink(print) <- #5 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn group_without_window_is_a_changelog() {
    check(
        "INSERT INTO changes SELECT bidder, SUM(price) FILTER (WHERE price > 1) FROM bid GROUP BY bidder",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price
            #1 Calc <- #0 forward [parallelism=job, changelog=I]
                 select: bidder, price, price > 1 AS price > 1
            #2 GroupAggregate <- #1 hash(bidder) [parallelism=job, changelog=I,UB,UA,D]
                 group by: bidder
                 aggregates: SUM(price) FILTER (WHERE price > 1)
                 state: grows with the number of keys: set table.exec.state.ttl to bound it
            #3 Calc <- #2 forward [parallelism=job, changelog=I,UB,UA,D]
                 select: bidder, SUM(price) FILTER (WHERE price > 1) AS total
            #4 Sink(changes) <- #3 forward [parallelism=job, changelog=I,UB,UA,D]
                 guarantee: exactly once
        "#]],
    );
    check(
        "SELECT COUNT(*) FROM bid",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: auction
        #1 LocalGroupAggregate <- #0 forward [parallelism=job, changelog=I]
        #2 GlobalGroupAggregate <- #1 single [parallelism=1, changelog=I,UB,UA,D]
             aggregates: COUNT(*)
             state: one row
        #3 Calc <- #2 forward [parallelism=1, changelog=I,UB,UA,D]
             select: COUNT(*) AS EXPR$0
        #4 Sink(print) <- #3 forward [parallelism=1, changelog=I,UB,UA,D]
             guarantee: exactly once
    "#]],
    );
    check(
        "SELECT DISTINCT bidder FROM bid",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder
        #1 GroupAggregate <- #0 hash(bidder) [parallelism=job, changelog=I]
             group by: bidder
             state: grows with the number of keys: set table.exec.state.ttl to bound it
        #2 Sink(print) <- #1 forward [parallelism=job, changelog=I]
             guarantee: exactly once
    "#]],
    );
}

#[test]
fn union_all_unnest_and_values() {
    check(
        "INSERT INTO changes SELECT bidder, auction FROM bid UNION ALL SELECT who, 1 FROM click UNION ALL VALUES ('v', 2)",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: auction, bidder
            #1 Source(click) [parallelism=job, changelog=I]
                 columns: who
            #2 Values [parallelism=1, changelog=I]
                 rows: 1
            #3 Calc <- #0 forward [parallelism=job, changelog=I]
                 select: bidder, auction
            #4 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: who AS bidder, 1 AS auction
            #5 Calc <- #2 forward [parallelism=1, changelog=I]
                 select: column1 AS bidder, CAST(column2 AS BIGINT) AS auction
            #6 Union <- #3 forward, #4 forward, #5 rebalance [parallelism=job, changelog=I]
            #7 Calc <- #6 forward [parallelism=job, changelog=I]
                 select: bidder, auction AS total
            #8 Sink(changes) <- #7 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
    check(
        "SELECT bidder, tag FROM bid CROSS JOIN UNNEST(tags) AS t (tag) WHERE price > 3",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder, price, tags
        #1 Calc <- #0 forward [parallelism=job, changelog=I]
             select: bidder, price, tags, tags AS collection
             where: price > 3
        #2 Unnest <- #1 forward [parallelism=job, changelog=I]
             of: tags
        #3 Calc <- #2 forward [parallelism=job, changelog=I]
             select: bidder, tag
        #4 Sink(print) <- #3 forward [parallelism=job, changelog=I]
             guarantee: exactly once
    "#]],
    );
    check(
        "SELECT 1, 'a', NULL",
        expect![[r#"
        #0 Values [parallelism=1, changelog=I]
             rows: 1
        #1 Calc <- #0 forward [parallelism=1, changelog=I]
             select: 1 AS EXPR$0, 'a' AS EXPR$1, NULL AS EXPR$2
        #2 Sink(print) <- #1 forward [parallelism=1, changelog=I]
             guarantee: exactly once
    "#]],
    );
}

#[test]
fn processing_time_windows_stay_in_one_phase() {
    check(
        "SELECT window_start, who, COUNT(*) FROM TABLE(TUMBLE(TABLE click, DESCRIPTOR(pt), INTERVAL '1' MINUTE))
         GROUP BY window_start, window_end, who",
        expect![[r#"
            #0 Source(click) [parallelism=job, changelog=I]
                 columns: who, PROCTIME() AS pt
            #1 WindowAggregate <- #0 hash(who) [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by processing time
                 group by: who
                 aggregates: COUNT(*)
                 state: aggregates per key and window; freed when a window closes
            #2 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: window_start, who, COUNT(*) AS EXPR$2
            #3 Sink(print) <- #2 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn side_tables() {
    check(
        "EXECUTE STATEMENT SET BEGIN
         INSERT INTO files SELECT window_start, bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
           WHERE price > 0 GROUP BY window_start, window_end, bidder;
         INSERT INTO changes SELECT bidder, price FROM bid$late;
         INSERT INTO changes SELECT reason, `offset` FROM bid$errors;
         END",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 Calc <- #0 forward [parallelism=job, changelog=I]
                 select: bidder, ts, __row
                 where: price > 0
            #2 WindowAggregate <- #1 hash(bidder) [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder
                 aggregates: COUNT(*)
                 state: aggregates per key and window; freed when a window closes
            #3 Calc <- #2 forward [parallelism=job, changelog=I]
                 select: window_start, bidder, COUNT(*) AS total
            #4 Sink(files) <- #3 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
            #5 Calc <- #0 side output, forward [parallelism=job, changelog=I]
                 select: reason AS bidder, offset AS total
            #6 Sink(changes) <- #5 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
            #7 Calc <- #2 side output, forward [parallelism=job, changelog=I]
                 select: __row.bidder AS bidder, CAST(__row.price AS BIGINT) AS total
            #8 Sink(changes) <- #7 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn ranks_become_operators_by_their_order() {
    check(
        "SELECT bidder, price FROM bid QUALIFY ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY price DESC) <= 3",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price
            #1 TopN <- #0 hash(bidder) [parallelism=job, changelog=I,UB,UA,D]
                 rank: ROW_NUMBER <= 3
                 partition by: bidder
                 order by: price DESC
                 state: the rows in range of each partition: set table.exec.state.ttl to bound it
            #2 Sink(print) <- #1 forward [parallelism=job, changelog=I,UB,UA,D]
                 guarantee: exactly once
        "#]],
    );
    check(
        "SELECT bidder, n FROM (SELECT *, RANK() OVER (ORDER BY price, auction) AS n FROM bid) WHERE n BETWEEN 2 AND 5 AND bidder <> 'x'",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: auction, bidder, price
            #1 TopN <- #0 single [parallelism=1, changelog=I,UB,UA,D]
                 rank: RANK BETWEEN 2 AND 5
                 order by: price, auction
                 state: the rows in range
            #2 Calc <- #1 forward [parallelism=1, changelog=I,UB,UA,D]
                 select: bidder, rank AS n
                 where: bidder <> 'x'
            #3 Sink(print) <- #2 forward [parallelism=1, changelog=I,UB,UA,D]
                 guarantee: exactly once
        "#]],
    );
    check(
        "SELECT bidder FROM bid QUALIFY ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY ts) = 1",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder, ts
             watermark: ts AS ts - INTERVAL '5' SECOND
        #1 Deduplicate <- #0 hash(bidder) [parallelism=job, changelog=I]
             keep: the first row
             partition by: bidder
             order by: ts
             state: rows until the watermark passes them; grows with the number of keys: set table.exec.state.ttl to bound it
        #2 Sink(print) <- #1 forward [parallelism=job, changelog=I]
             guarantee: exactly once
    "#]],
    );
    check(
        "SELECT bidder FROM bid QUALIFY ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY ts DESC) = 1",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder, ts
        #1 Deduplicate <- #0 hash(bidder) [parallelism=job, changelog=I,UB,UA,D]
             rank: ROW_NUMBER = 1
             partition by: bidder
             order by: ts DESC
             state: the rows in range of each partition: set table.exec.state.ttl to bound it
        #2 Sink(print) <- #1 forward [parallelism=job, changelog=I,UB,UA,D]
             guarantee: exactly once
    "#]],
    );
    check(
        "SELECT window_start, bidder FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))
         QUALIFY ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) <= 2",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 WindowAssign <- #0 forward [parallelism=job, changelog=I]
                 window: TUMBLE(size 10 s)
            #2 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: bidder, price, window_start, window_end
            #3 WindowTopN <- #2 hash(window_start, window_end) [parallelism=job, changelog=I]
                 rank: ROW_NUMBER <= 2
                 partition by: window_start, window_end
                 order by: price DESC
                 state: freed when a window closes
            #4 Calc <- #3 forward [parallelism=job, changelog=I]
                 select: window_start, bidder
            #5 Sink(print) <- #4 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn functions_over_time_are_one_operator_per_window() {
    check(
        "SELECT bidder, SUM(price) OVER w, LAG(price) OVER w, COUNT(*) OVER (w RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW)
         FROM bid WINDOW w AS (PARTITION BY bidder ORDER BY ts)",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 OverAggregate <- #0 hash(bidder) [parallelism=job, changelog=I]
                 partition by: bidder
                 order by: ts
                 functions: SUM(price) RANGE UNBOUNDED PRECEDING, LAG(price, 1), COUNT(*) RANGE 1 h PRECEDING
                 state: rows until the watermark passes them; aggregates and rows in frames of each partition: set table.exec.state.ttl to bound it
            #2 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: bidder, SUM(price) RANGE UNBOUNDED PRECEDING AS EXPR$1, LAG(price, 1) AS EXPR$2, COUNT(*) RANGE 1 h PRECEDING AS EXPR$3
            #3 Sink(print) <- #2 forward [parallelism=job, changelog=I]
                 guarantee: exactly once
        "#]],
    );
    check(
        "SELECT COUNT(*) OVER (PARTITION BY bidder ORDER BY ts ROWS 3 PRECEDING), MAX(price) OVER (ORDER BY ts ROWS 3 PRECEDING) FROM bid",
        expect![[r#"
            #0 Source(bid) [parallelism=job, changelog=I]
                 columns: bidder, price, ts
                 watermark: ts AS ts - INTERVAL '5' SECOND
            #1 OverAggregate <- #0 hash(bidder) [parallelism=job, changelog=I]
                 partition by: bidder
                 order by: ts
                 functions: COUNT(*) ROWS 3 PRECEDING
                 state: rows until the watermark passes them; aggregates and rows in frames of each partition: set table.exec.state.ttl to bound it
            #2 Calc <- #1 forward [parallelism=job, changelog=I]
                 select: price, ts, COUNT(*) ROWS 3 PRECEDING AS count(Int64(1)) PARTITION BY [bid.bidder] ORDER BY [bid.ts ASC NULLS FIRST] ROWS BETWEEN 3 PRECEDING AND CURRENT ROW
            #3 OverAggregate <- #2 single [parallelism=1, changelog=I]
                 order by: ts
                 functions: MAX(price) ROWS 3 PRECEDING
                 state: rows until the watermark passes them; aggregates and rows in frames
            #4 Calc <- #3 forward [parallelism=1, changelog=I]
                 select: count(Int64(1)) PARTITION BY [bid.bidder] ORDER BY [bid.ts ASC NULLS FIRST] ROWS BETWEEN 3 PRECEDING AND CURRENT ROW AS EXPR$0, MAX(price) ROWS 3 PRECEDING AS EXPR$1
            #5 Sink(print) <- #4 forward [parallelism=1, changelog=I]
                 guarantee: exactly once
        "#]],
    );
}

#[test]
fn orders_become_operators_by_what_they_need() {
    check(
        "SELECT bidder FROM bid ORDER BY ts, price DESC LIMIT 5",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder, price, ts
             watermark: ts AS ts - INTERVAL '5' SECOND
        #1 Calc <- #0 forward [parallelism=job, changelog=I]
             select: bidder, ts, price
        #2 TimeSort <- #1 single [parallelism=1, changelog=I]
             order by: ts, price DESC
             state: rows until the watermark passes them
        #3 Limit <- #2 forward [parallelism=1, changelog=I]
             limit: 5
             state: a number
        #4 Sink(print) <- #3 forward [parallelism=1, changelog=I]
             guarantee: exactly once
    "#]],
    );
    check(
        "SELECT bidder FROM bid ORDER BY price DESC LIMIT 5 OFFSET 2",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder, price
        #1 SortLimit <- #0 single [parallelism=1, changelog=I]
             order by: price DESC
             limit: 5
             offset: 2
             state: the first rows until the input ends
        #2 Sink(print) <- #1 forward [parallelism=1, changelog=I]
             guarantee: exactly once
    "#]],
    );
    check(
        "SELECT bidder FROM bid LIMIT 5",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: bidder
        #1 Limit <- #0 single [parallelism=1, changelog=I]
             limit: 5
             state: a number
        #2 Sink(print) <- #1 forward [parallelism=1, changelog=I]
             guarantee: exactly once
    "#]],
    );
}
