//! Conditions with another value each time stay above what stands below them where they are written.

use super::fixture::Fixture;

/// The optimized plan of a query, a line per node.
fn optimized(sql: &str) -> Vec<String> {
    let job = Fixture::new().plan(sql).unwrap_or_else(|found| panic!("{sql}: {found}"));
    job.outputs[0].optimized.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn conditions_that_vary_stay_where_they_are_written() {
    let windows = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
    for (node, sql) in [
        ("Union", "SELECT * FROM (SELECT price FROM bid UNION ALL SELECT auction FROM bid) WHERE price > 5 AND RAND() > 0.5".to_owned()),
        ("Aggregate", format!("SELECT auction, COUNT(*) FROM {windows} GROUP BY auction, window_start, window_end HAVING RAND() > 0.5 AND auction > 5")),
        ("Window", "SELECT * FROM TABLE(SESSION(TABLE bid PARTITION BY auction, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) WHERE RAND() > 0.5 AND auction > 5".into()),
        ("WindowAggr", "SELECT * FROM (SELECT COUNT(*) OVER (PARTITION BY auction ORDER BY ts) AS n, auction FROM bid) WHERE RAND() > 0.5 AND auction > 5".into()),
        ("Inner Join", "SELECT a.price FROM bid AS a JOIN bid AS b ON a.auction = b.auction AND RAND() > 0.5 AND a.price > 5".into()),
                ("Unnest", "SELECT t FROM bid CROSS JOIN UNNEST(tags) AS u (t) WHERE RAND() > 0.5 AND price > 5".into()),
    ] {
        let lines = optimized(&sql);
        let place = |found: &dyn Fn(&str) -> bool| {
            lines.iter().position(|line| found(line)).unwrap_or_else(|| panic!("{sql}\n{lines:#?}"))
        };
        let varying = place(&|line| line.starts_with("Filter") && line.contains("rand()"));
        let node = place(&|line| line.starts_with(node));
        let steady = place(&|line| line.starts_with("Filter") && line.contains("> 5"));
        assert!(varying < node && node < steady, "{sql}\n{lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.contains("rand()")).count(), 1, "{sql}\n{lines:#?}");
    }
}

#[test]
fn keys_that_vary_are_computed_once() {
    let windows = "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))";
    let lines = optimized(&format!(
        "SELECT FLOOR(price * RAND()) AS r, COUNT(*) FROM {windows} GROUP BY FLOOR(price * RAND()), window_start, window_end HAVING FLOOR(price * RAND()) > 1"
    ));
    assert_eq!(lines.iter().filter(|line| line.starts_with("Filter")).count(), 1, "{lines:#?}");
    let place = |word: &str| lines.iter().position(|line| line.starts_with(word));
    assert!(place("Filter") < place("Aggregate"), "{lines:#?}");
}
