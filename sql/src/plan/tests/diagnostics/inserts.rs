//! What cannot be written into a table.

use expect_test::expect;

use super::check;

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
