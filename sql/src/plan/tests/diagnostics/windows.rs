//! Time attributes and windows.

use expect_test::expect;

use super::check;

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
        hint: say how many are wanted: SELECT ... FROM (SELECT ..., ROW_NUMBER() OVER (...) AS n FROM ...) WHERE n <= 10, or QUALIFY; or in a column that all rows of a partition have in common: OVER (PARTITION BY shop, wanted ...) and WHERE n <= wanted
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
                 state: aggregates per key and window; freed when a window closes
            #4 GlobalWindowAggregate <- #3 hash(bidder, price, auction, grouping_id) [parallelism=job, changelog=I]
                 window: TUMBLE(size 1 min) by ts
                 group by: bidder, price, auction, grouping_id
                 aggregates: COUNT(*)
                 state: aggregates per key and window; freed when a window closes
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
