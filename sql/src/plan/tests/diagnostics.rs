//! What is said of queries that cannot run, and where.

use expect_test::{Expect, expect};

use super::fixture::Fixture;

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&Fixture::new().graph(sql));
}

#[test]
fn names() {
    check(
        "SELECT bider FROM bid",
        expect![[r#"
        error: column `bider` does not exist
         --> test.sql:1:8
          |
        1 | SELECT bider FROM bid
          |        ^^^^^
        hint: did you mean `bidder`? There are: auction, bidder, price, ts, tags, double_price
    "#]],
    );
    check(
        "SELECT b.nothing FROM bid AS b",
        expect![[r#"
        error: column `nothing` does not exist in `b`
         --> test.sql:1:8
          |
        1 | SELECT b.nothing FROM bid AS b
          |        ^^^^^^^^^
        hint: there are: auction, bidder, price, ts, tags, double_price
    "#]],
    );
    check(
        "SELECT price FROM bids",
        expect![[r#"
        error: table or view `bids` does not exist
         --> test.sql:1:19
          |
        1 | SELECT price FROM bids
          |                   ^^^^
        hint: did you mean `bid`?
    "#]],
    );
    check(
        "SELECT price,\n  UPER(bidder) FROM bid",
        expect![[r#"
        error: there is no function UPER
         --> test.sql:2:3
          |
        2 |   UPER(bidder) FROM bid
          |   ^^^^
        hint: did you mean UPPER?
    "#]],
    );
    check(
        "SELECT zzqqxx(bidder) FROM bid",
        expect![[r#"
        error: there is no function ZZQQXX
         --> test.sql:1:8
          |
        1 | SELECT zzqqxx(bidder) FROM bid
          |        ^^^^^^
        hint: SHOW FUNCTIONS lists them all
    "#]],
    );
}

#[test]
fn names_in_conditions() {
    check(
        "SELECT a.bidder FROM bid WHERE price > missing",
        expect![[r#"
        error: column `missing` does not exist
         --> test.sql:1:40
          |
        1 | SELECT a.bidder FROM bid WHERE price > missing
          |                                        ^^^^^^^
        hint: there are: auction, bidder, price, ts, tags, double_price
    "#]],
    );
}

#[test]
fn types() {
    check(
        "SELECT bidder + tags FROM bid",
        expect![[r#"
            error: STRING + ARRAY<INT> cannot be computed
             --> test.sql:1:8
              |
            1 | SELECT bidder + tags FROM bid
              |        ^^^^^^^^^^^^^
            hint: CAST one side
        "#]],
    );
    check(
        "SELECT ABS(bidder, 1) FROM bid",
        expect![[r#"
            error: ABS takes 1 argument(s), not 2
             --> test.sql:1:8
              |
            1 | SELECT ABS(bidder, 1) FROM bid
              |        ^^^
        "#]],
    );
    check(
        "SELECT SUM(bidder) FROM bid",
        expect![[r#"
            error: SUM: not defined for STRING
             --> test.sql:1:8
              |
            1 | SELECT SUM(bidder) FROM bid
              |        ^^^
            hint: CAST the argument to a number
        "#]],
    );
    check(
        "SELECT price FROM bid WHERE bidder",
        expect![[r#"
            error: a condition must be BOOLEAN, but this one is STRING
             --> test.sql:1:29
              |
            1 | SELECT price FROM bid WHERE bidder
              |                             ^^^^^^
            hint: compare it with a value
        "#]],
    );
    check(
        "SELECT CASE WHEN price > 1 THEN tags ELSE 1 END FROM bid",
        expect![[r#"
            error: the branches of CASE have types without a common one: ARRAY<INT>; INT
             --> test.sql:1:8
              |
            1 | SELECT CASE WHEN price > 1 THEN tags ELSE 1 END FROM bid
              |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            hint: CAST the branches to one type
        "#]],
    );
}

#[test]
fn grouping() {
    check(
        "SELECT bidder, price FROM bid GROUP BY bidder",
        expect![[r#"
        error: column `price` is neither grouped nor inside an aggregate
         --> test.sql:1:16
          |
        1 | SELECT bidder, price FROM bid GROUP BY bidder
          |                ^^^^^
        hint: add price to GROUP BY, or aggregate it: MAX(price)
    "#]],
    );
    check(
        "SELECT bidder FROM bid WHERE SUM(price) > 1",
        expect![[r#"
            error: an aggregate cannot stand in WHERE
             --> test.sql:1:30
              |
            1 | SELECT bidder FROM bid WHERE SUM(price) > 1
              |                              ^^^
            hint: put the condition into HAVING
        "#]],
    );
    check(
        "SELECT SUM(COUNT(*)) FROM bid",
        expect![[r#"
            error: an aggregate cannot stand inside another one
             --> test.sql:1:8
              |
            1 | SELECT SUM(COUNT(*)) FROM bid
              |        ^^^
            hint: compute the inner one in a subquery
        "#]],
    );
}

#[test]
fn time_attributes() {
    let windowed = |relation: &str, column: &str| {
        format!(
            "SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE {relation}, DESCRIPTOR({column}), INTERVAL '1' MINUTE))
GROUP BY window_start, window_end"
        )
    };
    check(
        &windowed("click", "at"),
        expect![[r#"
        error: `at` is not a time attribute, so windows cannot be put over it
         --> test.sql:1:42
          |
        1 | SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE click, DESCRIPTOR(at), INTERVAL '1' MINUTE))
          |                                          ^
        hint: add WATERMARK FOR at AS at - INTERVAL '5' SECOND to table `click`
    "#]],
    );
    check(
        &windowed("bid", "price"),
        expect![[r#"
        error: `price` is not a time attribute, so windows cannot be put over it
         --> test.sql:1:42
          |
        1 | SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(price), INTERVAL '1' MINUTE))
          |                                          ^
        hint: a time attribute is TIMESTAMP(3) or TIMESTAMP_LTZ(3): add a computed column such as ts AS TO_TIMESTAMP_LTZ(price, 3) and WATERMARK FOR ts AS ts - INTERVAL '5' SECOND to table `bid`
    "#]],
    );
    check(
        &windowed("bid", "nope"),
        expect![[r#"
        error: column `nope` does not exist
         --> test.sql:1:71
          |
        1 | SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(nope), INTERVAL '1' MINUTE))
          |                                                                       ^^^^
        hint: there are: auction, bidder, price, ts, tags, double_price
    "#]],
    );
    let cast = format!("CREATE VIEW v AS SELECT CAST(ts AS TIMESTAMP(3)) AS ts FROM bid;\n{}", windowed("v", "ts"));
    check(
        &cast,
        expect![[r#"
        error: `ts` is not a time attribute, so windows cannot be put over it
         --> test.sql:2:42
          |
        2 | SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
          |                                          ^
        hint: a column loses its time when it is cast or computed with: select it as it is and do the computing elsewhere
    "#]],
    );
    let grouped = format!("CREATE VIEW v AS SELECT ts, COUNT(*) AS n FROM bid GROUP BY ts;\n{}", windowed("v", "ts"));
    check(
        &grouped,
        expect![[r#"
        error: `ts` is not a time attribute, so windows cannot be put over it
         --> test.sql:2:42
          |
        2 | SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE v, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
          |                                          ^
        hint: a GROUP BY without window has no time: group by window_start, window_end
    "#]],
    );
}

#[test]
fn windows_without_length_and_late_rows_without_window() {
    check(
        "SELECT COUNT(*) FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '0' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end",
        expect![[r#"
            error: the slide of HOP must be positive
             --> test.sql:1:59
              |
            1 | SELECT COUNT(*) FROM TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '0' SECOND, INTERVAL '1' MINUTE)) GROUP BY window_start, window_end
              |                                                           ^^^^^^^^^^^^^^^^^^^
        "#]],
    );
    check(
        "SELECT * FROM bid$late",
        expect![[r#"
        error: nothing in this job finds late rows of `bid`
         --> test.sql:1:1
          |
        1 | SELECT * FROM bid$late
          | ^
        hint: put a query with a window over `bid` and the reader of `bid$late` into one EXECUTE STATEMENT SET
    "#]],
    );
}

#[test]
fn windows_and_limits_that_cannot_run() {
    check(
        "SELECT bidder, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY price) FROM live",
        expect![[r#"
        error: ROW_NUMBER() OVER numbers all rows: each new row would change the numbers of those behind it
         --> test.sql:1:16
          |
        1 | SELECT bidder, ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY price) FROM live
          |                ^^^^^^^^^^
        hint: say how many are wanted: SELECT ... FROM (SELECT ..., ROW_NUMBER() OVER (...) AS n FROM ...) WHERE n <= 10, or QUALIFY
    "#]],
    );
    check(
        "SELECT bidder, SUM(price) OVER (PARTITION BY bidder) FROM live",
        expect![[r#"
        error: SUM() OVER needs ORDER BY with a time attribute: without, each new row would change all others
         --> test.sql:1:16
          |
        1 | SELECT bidder, SUM(price) OVER (PARTITION BY bidder) FROM live
          |                ^^^
        hint: write OVER (PARTITION BY ... ORDER BY ts), where ts is the column of the WATERMARK; or GROUP BY instead
    "#]],
    );
    check(
        "SELECT bidder, COUNT(*) OVER w, NTILE(4) OVER w FROM live WINDOW w AS (PARTITION BY bidder ORDER BY ts)",
        expect![[r#"
        error: NTILE() OVER needs all rows of a partition at once, but this input has no end
         --> test.sql:1:33
          |
        1 | SELECT bidder, COUNT(*) OVER w, NTILE(4) OVER w FROM live WINDOW w AS (PARTITION BY bidder ORDER BY ts)
          |                                 ^^^^^
        hint: partition by window_start and window_end of a TUMBLE, HOP or CUMULATE as well: such partitions are complete when the window closes; or let the frame end at the row or so far behind it
    "#]],
    );
    check(
        "SELECT bidder, SUM(price) OVER (ORDER BY ts ROWS BETWEEN price PRECEDING AND CURRENT ROW) FROM live",
        expect![[r#"
        error: `price` is no bound of a frame: it takes a constant number of rows, or an interval
         --> test.sql:1:58
          |
        1 | SELECT bidder, SUM(price) OVER (ORDER BY ts ROWS BETWEEN price PRECEDING AND CURRENT ROW) FROM live
          |                                                          ^^^^^
        hint: ROWS BETWEEN 2 PRECEDING AND CURRENT ROW
    "#]],
    );
    check(
        "SELECT bidder, SUM(price) OVER x FROM bid",
        expect![[r#"
        error: there is no window `x`
         --> test.sql:1:32
          |
        1 | SELECT bidder, SUM(price) OVER x FROM bid
          |                                ^
        hint: name it behind the query: SELECT ... FROM ... WINDOW w AS (PARTITION BY ... ORDER BY ...)
    "#]],
    );
    check(
        "SELECT bidder FROM bid LIMIT -1",
        expect![[r#"
        error: LIMIT takes a constant number of rows
         --> test.sql:1:1
          |
        1 | SELECT bidder FROM bid LIMIT -1
          | ^
        hint: write LIMIT 10
    "#]],
    );
}

#[test]
fn subqueries_and_aggregations_that_cannot_run() {
    check(
        "SELECT * FROM bid, LATERAL (SELECT at FROM click WHERE who = bidder) AS c",
        expect![[r#"
        error: a lateral subquery over a stream is not supported yet
         --> test.sql:1:29
          |
        1 | SELECT * FROM bid, LATERAL (SELECT at FROM click WHERE who = bidder) AS c
          |                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: write it as a subquery of its own and join it by what it compares
    "#]],
    );
    check(
        "SELECT bidder FROM bid WHERE price > 3 OR bidder IN (SELECT who FROM click)",
        expect![[r#"
        error: IN (SELECT ...) and EXISTS can only be parts of a WHERE that are joined by AND
         --> test.sql:1:1
          |
        1 | SELECT bidder FROM bid WHERE price > 3 OR bidder IN (SELECT who FROM click)
          | ^
        hint: write the alternatives as queries of their own and put UNION ALL between them
    "#]],
    );
    check(
        "SELECT bidder, SUM(price - (SELECT COUNT(*) FROM click)) FROM bid GROUP BY bidder",
        expect![[r#"
        error: a subquery in an expression over a stream is not supported yet
         --> test.sql:1:1
          |
        1 | SELECT bidder, SUM(price - (SELECT COUNT(*) FROM click)) FROM bid GROUP BY bidder
          | ^
        hint: subqueries can stand in WHERE, HAVING and SELECT; write others as a join
    "#]],
    );
    check(
        "SELECT bidder, (SELECT at FROM click WHERE who = bidder) FROM bid",
        expect![[r#"
        error: Correlated scalar subquery must be aggregated to return at most one row
         --> test.sql:1:1
          |
        1 | SELECT bidder, (SELECT at FROM click WHERE who = bidder) FROM bid
          | ^
    "#]],
    );
}

#[test]
fn inserts() {
    check(
        "INSERT INTO files SELECT ts, bidder, SUM(price) FROM bid GROUP BY ts, bidder",
        expect![[r#"
        error: GroupAggregate emits updates of earlier results, but sink `files` takes appended rows only
         --> test.sql:1:13
          |
        1 | INSERT INTO files SELECT ts, bidder, SUM(price) FROM bid GROUP BY ts, bidder
          |             ^^^^^
        hint: group by a window (window_start, window_end) so that results are final, or use a sink that takes updates
    "#]],
    );
    check(
        "INSERT INTO changes SELECT bidder FROM bid",
        expect![[r#"
        error: table `changes` takes 2 columns here, but the query gives 1
         --> test.sql:1:21
          |
        1 | INSERT INTO changes SELECT bidder FROM bid
          |                     ^
        hint: table: bidder, total
              query: bidder
    "#]],
    );
    check(
        "INSERT INTO changes SELECT price, auction FROM bid",
        expect![[r#"
            error: column `bidder` is STRING, but the query gives INT
             --> test.sql:1:28
              |
            1 | INSERT INTO changes SELECT price, auction FROM bid
              |                            ^^^^^
            hint: write CAST(... AS STRING) AS bidder
        "#]],
    );
    check(
        "INSERT INTO changes (bidder, totl) SELECT bidder, price FROM bid",
        expect![[r#"
        error: table `changes` has no column `totl`
         --> test.sql:1:30
          |
        1 | INSERT INTO changes (bidder, totl) SELECT bidder, price FROM bid
          |                              ^^^^
        hint: did you mean `total`?
    "#]],
    );
}

#[test]
fn inserts_into_columns_that_cannot_take_them() {
    check(
        "INSERT INTO narrow (a) VALUES (1)",
        expect![[r#"
        error: column `e` of `narrow` is NOT NULL and gets no value
         --> test.sql:1:13
          |
        1 | INSERT INTO narrow (a) VALUES (1)
          |             ^^^^^^
    "#]],
    );
    check(
        "INSERT INTO narrow (c) VALUES (1)",
        expect![[r#"
        error: column `c` of `narrow` is computed: it cannot be written
         --> test.sql:1:21
          |
        1 | INSERT INTO narrow (c) VALUES (1)
          |                     ^
    "#]],
    );
    check(
        "INSERT INTO nowhere SELECT 1",
        expect![[r#"
        error: table or view `nowhere` does not exist
         --> test.sql:1:13
          |
        1 | INSERT INTO nowhere SELECT 1
          |             ^^^^^^^
    "#]],
    );
    check(
        "INSERT INTO bid$late SELECT 1",
        expect![[r#"
        error: `bid$late` can only be read
         --> test.sql:1:13
          |
        1 | INSERT INTO bid$late SELECT 1
          |             ^^^^^^^^
    "#]],
    );
    check(
        "INSERT INTO changes SELECT 'a', price * 1.5 FROM bid",
        expect![[r#"
            error: column `total` is BIGINT, but the query gives DECIMAL(13, 1)
             --> test.sql:1:33
              |
            1 | INSERT INTO changes SELECT 'a', price * 1.5 FROM bid
              |                                 ^^^^^^^^^^^
            hint: write CAST(... AS BIGINT) AS total
        "#]],
    );
}

#[test]
fn views() {
    check(
        "CREATE VIEW v AS SELECT nothing FROM bid;\nSELECT * FROM v",
        expect![[r#"
        error: in view `v`: column `nothing` does not exist
         --> test.sql:2:15
          |
        2 | SELECT * FROM v
          |               ^
    "#]],
    );
    check(
        "CREATE VIEW v AS SELECT * FROM v;\nSELECT * FROM v",
        expect![[r#"
            error: in view `v`: view `v` refers to itself
             --> test.sql:2:15
              |
            2 | SELECT * FROM v
              |               ^
        "#]],
    );
}

#[test]
fn casts() {
    check(
        "SELECT CAST(price AS TIMESTAMP(3)) FROM bid",
        expect![[r#"
        error: INT cannot be cast to TIMESTAMP(3)
         --> test.sql:1:13
          |
        1 | SELECT CAST(price AS TIMESTAMP(3)) FROM bid
          |             ^^^^^
        hint: use TO_TIMESTAMP_LTZ(number, 3) for epoch milliseconds
    "#]],
    );
    check(
        "SELECT CAST(ts AS BIGINT) FROM bid",
        expect![[r#"
        error: TIMESTAMP(3) cannot be cast to BIGINT
         --> test.sql:1:13
          |
        1 | SELECT CAST(ts AS BIGINT) FROM bid
          |             ^^
        hint: use UNIX_TIMESTAMP or EXTRACT
    "#]],
    );
    check(
        "SELECT price FROM bid WHERE tags = 1",
        expect![[r#"
        error: ARRAY<INT> = INT: these types cannot be compared
         --> test.sql:1:29
          |
        1 | SELECT price FROM bid WHERE tags = 1
          |                             ^^^^^^^^
        hint: CAST one side
    "#]],
    );
}

#[test]
fn unions() {
    check(
        "SELECT price FROM bid UNION ALL SELECT who, at FROM click",
        expect![[r#"
        error: the queries of this UNION have different numbers of columns
         --> test.sql:1:1
          |
        1 | SELECT price FROM bid UNION ALL SELECT who, at FROM click
          | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: give them the same columns
    "#]],
    );
    check(
        "SELECT tags FROM bid UNION ALL SELECT at FROM click",
        expect![[r#"
        error: column `at` of this UNION is TIMESTAMP(3), but ARRAY<INT> in the queries before
         --> test.sql:1:39
          |
        1 | SELECT tags FROM bid UNION ALL SELECT at FROM click
          |                                       ^^
        hint: CAST one of them
    "#]],
    );
}

#[test]
fn window_groupings() {
    check(
        "INSERT INTO files SELECT window_start, bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, bidder",
        expect![[r#"
        error: GroupAggregate emits updates of earlier results, but sink `files` takes appended rows only
         --> test.sql:1:13
          |
        1 | INSERT INTO files SELECT window_start, bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, bidder
          |             ^^^^^
        hint: results are final only when they are grouped by both window_start and window_end: add the missing one
    "#]],
    );
    check(
        "SELECT window_start, bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, GROUPING SETS ((bidder), (auction)), CUBE (price)",
        expect![[r#"
        #0 Source(bid) [parallelism=job, changelog=I]
             columns: auction, bidder, price, ts
             watermark: ts AS ts - INTERVAL '5' SECOND
        #1 Calc <- #0 forward [parallelism=job, changelog=I]
             select: bidder, price, auction, ts
        #2 Expand <- #1 forward [parallelism=job, changelog=I]
             grouping sets: (window_start, window_end, bidder), (window_start, window_end, bidder, price), (window_start, window_end, auction), (window_start, window_end, price, auction)
        #3 LocalWindowAggregate <- #2 forward [parallelism=job, changelog=I]
             window: TUMBLE(size 1 min) by ts
             group by: bidder, price, auction, grouping_id
             aggregates: COUNT(*)
             state: freed when a window closes
        #4 GlobalWindowAggregate <- #3 hash(bidder, price, auction, grouping_id) [parallelism=job, changelog=I]
             window: TUMBLE(size 1 min) by ts
             group by: bidder, price, auction, grouping_id
             aggregates: COUNT(*)
             state: freed when a window closes
        #5 Calc <- #4 forward [parallelism=job, changelog=I]
             select: window_start, bidder, COUNT(*) AS EXPR$2
        #6 Sink(print) <- #5 forward [parallelism=job, changelog=I]
             guarantee: exactly once
    "#]],
    );
    check(
        "SELECT window_start, bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY ROLLUP (window_start, window_end, bidder)",
        expect![[r#"
        error: every grouping set must have window_start and window_end
         --> test.sql:1:1
          |
        1 | SELECT window_start, bidder, COUNT(*) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY ROLLUP (window_start, window_end, bidder)
          | ^
        hint: write GROUP BY window_start, window_end, ROLLUP (...)
    "#]],
    );
}

#[test]
fn functions_that_cannot_be_called() {
    check(
        "SELECT MEDIAN(price), NTH_VALUE(price, 2) FROM bid",
        expect![[r#"
        error: NTH_VALUE cannot run over a stream
         --> test.sql:1:23
          |
        1 | SELECT MEDIAN(price), NTH_VALUE(price, 2) FROM bid
          |                       ^^^^^^^^^
        hint: order within a stream's group is not kept; use FIRST_VALUE or LAST_VALUE, or ARRAY_AGG(x)[n]
    "#]],
    );
    check(
        "SELECT FIRST_VALUE(price) RESPECT NULLS FROM bid",
        expect![[r#"
        error: FIRST_VALUE leaves NULLs out: RESPECT NULLS cannot be used with it
         --> test.sql:1:8
          |
        1 | SELECT FIRST_VALUE(price) RESPECT NULLS FROM bid
          |        ^^^^^^^^^^^
    "#]],
    );
}

#[test]
fn fields_of_what_has_none() {
    check(
        "SELECT price['a'] FROM bid",
        expect![[r#"
        error: INT has no fields or elements
         --> test.sql:1:8
          |
        1 | SELECT price['a'] FROM bid
          |        ^^^^^^^^^
        hint: only ROW, MAP and ARRAY values have
    "#]],
    );
    check(
        "SELECT bidder.x FROM bid",
        expect![[r#"
        error: STRING has no fields or elements
         --> test.sql:1:8
          |
        1 | SELECT bidder.x FROM bid
          |        ^^^^^^^^
        hint: only ROW, MAP and ARRAY values have
    "#]],
    );
}

#[test]
fn explain_shows_each_stage() {
    let sql = "INSERT INTO files SELECT window_start, bidder, SUM(price + 1) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
WHERE price > 2 + 3 GROUP BY window_start, window_end, bidder";
    let mut fixture = Fixture::new();
    let job = fixture.plan(sql).unwrap_or_else(|found| panic!("{found}"));
    expect![[r#"
        == Logical Plan ==
        Sink: files
          Projection: bid.window_start, bid.bidder, sum(bid.price + 1) AS EXPR$2
            Aggregate: groupBy=[[bid.window_start, bid.window_end, bid.bidder]], aggr=[[sum(bid.price + 1) AS sum(bid.price + 1)]]
              Filter: bid.price > 2 + 3
                SubqueryAlias: bid
                  Projection: bid.auction, bid.bidder, bid.price, bid.ts, bid.tags, bid.double_price, window_start AS window_start, window_end AS window_end, window_time AS window_time
                    Window: TUMBLE(size 1 min), time=bid.ts
                      TableScan: bid

        == Optimized Plan ==
        Sink: files
          Projection: bid.window_start, bid.bidder, sum(bid.price + 1) AS EXPR$2
            Aggregate: groupBy=[[bid.window_start, bid.window_end, bid.bidder]], aggr=[[sum(bid.price + 1) AS sum(bid.price + 1)]]
              SubqueryAlias: bid
                Projection: bid.bidder, bid.price, window_start AS window_start, window_end AS window_end
                  Window: TUMBLE(size 1 min), time=bid.ts
                    Filter: bid.price > 5
                      TableScan: bid projection=[bidder, price, ts]

        == Operators ==
        #0 Source(bid) [parallelism=job]
             columns: bidder, price, ts
             watermark: ts AS ts - INTERVAL '5' SECOND
        #1 Calc <- #0 forward [parallelism=job]
             select: bidder, price + 1 AS price + 1, ts
             where: price > 5
        #2 LocalWindowAggregate <- #1 forward [parallelism=job]
             window: TUMBLE(size 1 min) by ts
             group by: bidder
             aggregates: SUM(price + 1)
             state: freed when a window closes
        #3 GlobalWindowAggregate <- #2 hash(bidder) [parallelism=job]
             window: TUMBLE(size 1 min) by ts
             group by: bidder
             aggregates: SUM(price + 1)
             state: freed when a window closes
        #4 Calc <- #3 forward [parallelism=job]
             select: window_start, bidder, SUM(price + 1) AS total
        #5 Sink(files) <- #4 forward [parallelism=job]
             guarantee: exactly once
    "#]].assert_eq(&crate::explain::explain(&job, false));
    expect![[r#"
        digraph job {
          rankdir=LR;
          node [shape=box, fontname="sans-serif"];
          n0 [label="Source(bid)\lcolumns: bidder, price, ts\lwatermark: ts AS ts - INTERVAL '5' SECOND\l", shape=cds];
          n1 [label="Calc\lselect: bidder, price + 1 AS price + 1, ts\lwhere: price > 5\l"];
          n0 -> n1 [label="forward"];
          n2 [label="LocalWindowAggregate\lwindow: TUMBLE(size 1 min) by ts\lgroup by: bidder\laggregates: SUM(price + 1)\lstate: freed when a window closes\l"];
          n1 -> n2 [label="forward"];
          n3 [label="GlobalWindowAggregate\lwindow: TUMBLE(size 1 min) by ts\lgroup by: bidder\laggregates: SUM(price + 1)\lstate: freed when a window closes\l"];
          n2 -> n3 [label="hash(bidder)"];
          n4 [label="Calc\lselect: window_start, bidder, SUM(price + 1) AS total\l"];
          n3 -> n4 [label="forward"];
          n5 [label="Sink(files)\lguarantee: exactly once\l", shape=folder];
          n4 -> n5 [label="forward"];
        }
    "#]].assert_eq(&crate::explain::graph_as_dot(&job.graph));
    let json = crate::explain::graph_as_json(&job.graph);
    assert!(json.contains("\"name\": \"Source(bid)\""), "{json}");
}
