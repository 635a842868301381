//! Groupings, subqueries and unions.

use expect_test::expect;

use super::check;

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
