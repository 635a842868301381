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
        error: Cannot coerce arithmetic expression STRING + List(INT) to valid types
         --> test.sql:1:8
          |
        1 | SELECT bidder + tags FROM bid
          |        ^^^^^^^^^^^^^
    "#]],
    );
    check(
        "SELECT ABS(bidder, 1) FROM bid",
        expect![[r#"
        error: ABS cannot be called with (STRING, BIGINT)
         --> test.sql:1:8
          |
        1 | SELECT ABS(bidder, 1) FROM bid
          |        ^^^
        hint: check the number of arguments, or CAST them to the type that the function takes
    "#]],
    );
    check(
        "SELECT SUM(bidder) FROM bid",
        expect![[r#"
        error: SUM cannot be called with (STRING)
         --> test.sql:1:8
          |
        1 | SELECT SUM(bidder) FROM bid
          |        ^^^
        hint: check the number of arguments, or CAST them to the type that the function takes
    "#]],
    );
    check(
        "SELECT price FROM bid WHERE bidder",
        expect![[r#"
        error: Cannot create filter with non-boolean predicate 'bid.bidder' returning STRING
         --> test.sql:1:1
          |
        1 | SELECT price FROM bid WHERE bidder
          | ^
    "#]],
    );
    check(
        "SELECT CASE WHEN price > 1 THEN tags ELSE 1 END FROM bid",
        expect![[r#"
        error: Failed to coerce then (List(INT)) and else (INT) to common types in CASE WHEN expression
         --> test.sql:1:1
          |
        1 | SELECT CASE WHEN price > 1 THEN tags ELSE 1 END FROM bid
          | ^
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
        error: Aggregate functions are not allowed in the WHERE clause. Consider using HAVING instead
         --> test.sql:1:1
          |
        1 | SELECT bidder FROM bid WHERE SUM(price) > 1
          | ^
    "#]],
    );
    check(
        "SELECT SUM(COUNT(*)) FROM bid",
        expect![[r#"
        error: Aggregate function calls cannot be nested: 'count(BIGINT(1))' is nested inside 'sum(count(BIGINT(1)) AS count(*))'
         --> test.sql:1:1
          |
        1 | SELECT SUM(COUNT(*)) FROM bid
          | ^
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
fn what_comes_later() {
    check(
        "SELECT * FROM bid JOIN click ON bidder = who",
        expect![[r#"
        error: JOIN over a stream is not supported yet
         --> test.sql:1:24
          |
        1 | SELECT * FROM bid JOIN click ON bidder = who
          |                        ^^^^^
        hint: joins come later; until then prepare both sides as separate queries
    "#]],
    );
    check(
        "SELECT * FROM bid, click",
        expect![[r#"
        error: a join over a stream is not supported yet
         --> test.sql:1:20
          |
        1 | SELECT * FROM bid, click
          |                    ^^^^^
        hint: joins come later; until then prepare both sides as separate queries
    "#]],
    );
    check(
        "SELECT * FROM bid ORDER BY price",
        expect![[r#"
        error: ORDER BY over a stream is not supported yet
         --> test.sql:1:28
          |
        1 | SELECT * FROM bid ORDER BY price
          |                            ^^^^^
        hint: a stream has no end: take the rows as they come, and sort where they are read
    "#]],
    );
    check(
        "SELECT * FROM bid LIMIT 3",
        expect![[r#"
        error: LIMIT over a stream is not supported yet
         --> test.sql:1:25
          |
        1 | SELECT * FROM bid LIMIT 3
          |                         ^
        hint: Top-N queries come later; a stream has no end to count to
    "#]],
    );
    check(
        "SELECT ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY ts) FROM bid",
        expect![[r#"
        error: ROW_NUMBER(...) OVER over a stream is not supported yet
         --> test.sql:1:8
          |
        1 | SELECT ROW_NUMBER() OVER (PARTITION BY bidder ORDER BY ts) FROM bid
          |        ^^^^^^^^^^
        hint: OVER windows come later; a window with GROUP BY is there
    "#]],
    );
    check(
        "SELECT bidder FROM bid INTERSECT SELECT who FROM click",
        expect![[r#"
        error: INTERSECT over a stream is not supported yet
         --> test.sql:1:34
          |
        1 | SELECT bidder FROM bid INTERSECT SELECT who FROM click
          |                                  ^^^^^^^^^^^^^^^^^^^^^
        hint: INTERSECT and EXCEPT come later, with joins; UNION and UNION ALL are there
    "#]],
    );
    check(
        "SELECT bidder FROM bid WHERE bidder IN (SELECT who FROM click)",
        expect![[r#"
        error: IN (SELECT ...) over a stream is not supported yet
         --> test.sql:1:30
          |
        1 | SELECT bidder FROM bid WHERE bidder IN (SELECT who FROM click)
          |                              ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: subqueries in expressions come later, with joins; put constants into the query
    "#]],
    );
    check(
        "SELECT (SELECT MAX(price) FROM bid) FROM click",
        expect![[r#"
        error: a subquery in an expression over a stream is not supported yet
         --> test.sql:1:9
          |
        1 | SELECT (SELECT MAX(price) FROM bid) FROM click
          |         ^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: subqueries in expressions come later, with joins; put constants into the query
    "#]],
    );
    check(
        "SELECT COUNT(*) FROM (SELECT bidder, COUNT(*) AS n FROM bid GROUP BY bidder) WHERE n > 1",
        expect![[r#"
        error: an aggregation over rows that are updated later is not supported yet
         --> test.sql:1:1
          |
        1 | SELECT COUNT(*) FROM (SELECT bidder, COUNT(*) AS n FROM bid GROUP BY bidder) WHERE n > 1
          | ^
        hint: aggregate in one step, or put a window into the inner query so that its rows are final
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
         --> test.sql:1:13
          |
        1 | INSERT INTO changes SELECT price, auction FROM bid
          |             ^^^^^^^
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
         --> test.sql:1:13
          |
        1 | INSERT INTO changes SELECT 'a', price * 1.5 FROM bid
          |             ^^^^^^^
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
