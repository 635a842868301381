//! Names that are not there, and views over them.

use expect_test::expect;

use super::check;

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
