//! Types that do not fit, casts that cannot be, functions that cannot be called.

use expect_test::expect;

use super::check;

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
