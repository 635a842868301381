//! What regular joins keep of their inputs, and until when.

use super::fixture::Fixture;

#[test]
fn a_join_keeps_its_rows_by_their_unique_keys() {
    let state = |joined: &str| {
        let graph = Fixture::new().graph(joined);
        let line = graph.lines().find(|line| line.contains("state: left")).unwrap_or("no unique key").trim();
        line.split(';').next().unwrap_or_default().to_string()
    };
    let totals = "(SELECT bidder, auction, SUM(price) AS total FROM bid GROUP BY bidder, auction)";
    let counts = "(SELECT bidder, COUNT(*) AS n FROM bid GROUP BY bidder)";
    let both = format!("SELECT t.auction, t.total, c.n FROM {totals} AS t JOIN {counts} AS c ON t.bidder = c.bidder");
    assert_eq!(state(&both), "state: left rows per key by bidder, auction, right one row per key");
    let more = format!("SELECT c.n FROM {counts} AS c JOIN bid ON c.bidder = bid.bidder AND c.n = bid.auction");
    assert_eq!(state(&more), "state: left one row per key, right rows per key");
    assert_eq!(state("SELECT a.price FROM bid AS a JOIN bid AS b ON a.bidder = b.bidder"), "no unique key");
}

/// An older layout of state must be refused, and one kind of side not taken for another.
#[test]
fn a_join_signs_how_each_side_is_kept() {
    let signature = |joined: &str| {
        let job = Fixture::new().plan(joined).unwrap_or_else(|found| panic!("{}", found.render("test.sql", joined)));
        let signatures = job.graph.nodes().iter().filter_map(|node| node.state_signature.clone());
        signatures.filter(|signature| signature.starts_with("inner join")).collect::<String>()
    };
    let counts = "(SELECT bidder, COUNT(*) AS n FROM bid GROUP BY bidder)";
    let joined = signature(&format!("SELECT c.n FROM {counts} AS c JOIN bid ON c.bidder = bid.bidder"));
    assert!(joined.contains("kept by side, key and nothing else; right"), "{joined}");
    assert!(joined.contains("kept by side, key and order of arrival;"), "{joined}");
}

/// Ends of windows are never late; times of rows may be, and are no reason to give up what they could fit.
#[test]
fn a_join_frees_rows_that_no_window_which_still_comes_can_fit() {
    let state = |settings: &[(&str, &str)], joined: &str| {
        let fixture = settings.iter().fold(Fixture::new(), |fixture, (key, value)| fixture.set(key, value));
        let graph = { fixture }.graph(joined);
        let line = graph.lines().find(|line| line.contains("state: the rows of both inputs"));
        let line = line.unwrap_or_else(|| panic!("no join of all rows:\n{graph}"));
        line.split_once("by key; ").map(|(_, freed)| freed.to_string()).unwrap_or_default()
    };
    let highest = |table: &str, time: &str, inner: &str| {
        format!(
            "(SELECT MAX({inner}) AS best, window_start AS s, window_end AS e, window_time AS wt
              FROM TABLE(TUMBLE(TABLE {table}, DESCRIPTOR({time}), INTERVAL '10' SECOND)) GROUP BY window_start, window_end, window_time)"
        )
    };
    let bids = |condition: &str| {
        let highest = highest("bid", "ts", "price");
        format!("SELECT b.auction FROM bid AS b JOIN {highest} AS h ON b.price = h.best WHERE {condition}")
    };
    let right_never = "right rows are never freed: set table.exec.state.ttl to bound them";
    let never = "it is never freed: set table.exec.state.ttl to bound it";
    for (condition, expected) in [
        (
            "b.ts BETWEEN h.e - INTERVAL '10' SECOND AND h.e",
            "left rows are freed when time at the right input reaches ts + 10 s; ",
        ),
        ("h.e <= b.ts + INTERVAL '1' MINUTE", "left rows are freed when time at the right input reaches ts + 1 min; "),
        ("h.e < b.ts", "left rows are freed when time at the right input reaches ts - 1 ms; "),
        ("h.wt <= b.ts", "left rows are freed when time at the right input reaches ts; "),
    ] {
        assert_eq!(state(&[], &bids(condition)), format!("{expected}{right_never}"), "{condition}");
    }
    // Later windows still fit, begins of windows are behind time, and rows of tables may be late.
    for condition in ["b.ts <= h.e", "b.ts >= h.s", "b.double_price > h.best"] {
        assert_eq!(state(&[], &bids(condition)), never, "{condition}");
    }
    let late = "SELECT a.price FROM bid AS a JOIN bid AS b ON a.bidder = b.bidder WHERE a.ts >= b.ts";
    assert_eq!(state(&[], late), never);
    let clicks = format!(
        "SELECT c.who FROM {} AS h JOIN click AS c ON c.who = h.best AND c.at > h.e",
        highest("bid", "ts", "bidder")
    );
    let left_never = "left rows are never freed: set table.exec.state.ttl to bound them";
    assert_eq!(
        state(&[], &clicks),
        format!("{left_never}; right rows are freed when time at the left input reaches at - 1 ms")
    );
    // A union may be told of time by one input while the other is idle; and in other zones ends of windows are local time.
    let two = highest("bid", "ts", "price");
    let union =
        format!("SELECT b.auction FROM bid AS b JOIN ({two} UNION ALL {two}) AS h ON b.price = h.best AND b.ts >= h.e");
    assert_eq!(state(&[], &union), never);
    let zoned = format!(
        "SELECT c.who FROM click AS c JOIN {} AS h ON c.who = h.best AND c.at >= h.e",
        highest("ltz", "t", "k")
    );
    let freed = format!("left rows are freed when time at the right input reaches at; {right_never}");
    assert_eq!(state(&[("table.local-time-zone", "UTC")], &zoned), freed);
    assert_eq!(state(&[("table.local-time-zone", "Asia/Tokyo")], &zoned), never);
    let with_ttl = state(&[("table.exec.state.ttl", "1 h")], &bids("b.ts >= h.e"));
    assert_eq!(with_ttl, "a row is forgotten 1 h after its last change");
}
