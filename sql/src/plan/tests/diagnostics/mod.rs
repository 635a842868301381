//! What is said of queries that cannot run, and where.

mod inserts;
mod names;
mod queries;
mod types;
mod windows;

use expect_test::Expect;

use super::fixture::Fixture;

fn check(sql: &str, expected: Expect) {
    expected.assert_eq(&Fixture::new().graph(sql));
}
