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
        "SELECT * FROM bid, LATERAL (SELECT at FROM click WHERE who = bidder LIMIT 1) AS c",
        expect![[r#"
        error: LIMIT without ORDER BY in a correlated subquery over a stream is not supported yet
         --> test.sql:1:1
          |
        1 | SELECT * FROM bid, LATERAL (SELECT at FROM click WHERE who = bidder LIMIT 1) AS c
          | ^
        hint: add ORDER BY, so that it is known which rows are meant
    "#]],
    );
    check(
        "SELECT bidder FROM bid WHERE (bidder, price) IN (SELECT who FROM click)",
        expect![[r#"
        error: a row of 2 values cannot be in a subquery of 1 columns
         --> test.sql:1:31
          |
        1 | SELECT bidder FROM bid WHERE (bidder, price) IN (SELECT who FROM click)
          |                               ^^^^^^^^^^^^^
        hint: select as many columns as the row has values
    "#]],
    );
    check(
        "SELECT bidder, (SELECT at FROM click WHERE who = bidder) FROM bid",
        expect![[r#"
            error: this subquery stands for one value, but may give more rows than one for a row around it
             --> test.sql:1:1
              |
            1 | SELECT bidder, (SELECT at FROM click WHERE who = bidder) FROM bid
              | ^
            hint: aggregate it: MAX(x), or choose one: ORDER BY ... LIMIT 1
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
