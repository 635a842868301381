//! No text may make the planner panic, and none may make it say more than it should.

use super::fixture::Fixture;

/// Pieces that queries are put together from; most combinations are wrong.
const PIECES: &[&str] = &[
    "SELECT",
    "*",
    "bidder",
    "price",
    "ts",
    "tags",
    "auction",
    "bid",
    "click",
    "who",
    "FROM bid",
    "FROM click",
    "WHERE",
    "price > 1",
    "AND",
    "OR",
    "NOT",
    "GROUP BY bidder",
    "GROUP BY window_start, window_end",
    "HAVING COUNT(*) > 1",
    "COUNT(*)",
    "SUM(price)",
    "COUNT(DISTINCT bidder)",
    "AVG(price) FILTER (WHERE price > 2)",
    ",",
    "(",
    ")",
    "1",
    "1.5",
    "'a'",
    "NULL",
    "CAST(price AS STRING)",
    "CAST(bidder AS INT)",
    "CASE WHEN price > 1 THEN 1 ELSE 'x' END",
    "tags[1]",
    "FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
    "FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '1' MINUTE))",
    "FROM TABLE(HOP(TABLE bid, DESCRIPTOR(price), INTERVAL '1' MINUTE, INTERVAL '1' HOUR))",
    "window_start",
    "window_end",
    "window_time",
    "UNION ALL",
    "SELECT bidder, price FROM bid",
    "CROSS JOIN UNNEST(tags) AS t (tag)",
    "AS x",
    "IN (1, 2)",
    "BETWEEN 1 AND 2",
    "IS NULL",
    "LIKE 'a%'",
    "ROLLUP (bidder, auction)",
    "GROUP BY",
    "DISTINCT",
    "ts - INTERVAL '1' DAY",
    "EXTRACT(HOUR FROM ts)",
    "FLOOR(ts TO DAY)",
    "||",
    "+",
    "-",
    "/",
    "=",
    "FROM (VALUES (1, 'a')) AS v (n, s)",
    "n",
    "s",
    "FIRST_VALUE(bidder)",
    "LISTAGG(bidder, ',')",
    "PROCTIME()",
    "CURRENT_WATERMARK(ts)",
    "ROW(1, 'a')",
    "MAP['k', 1]",
    "GROUPING(bidder)",
    "FROM bid$late",
    "FROM bid$errors",
    "INSERT INTO changes",
    "INSERT INTO files",
    "ORDER BY ts",
    "LIMIT 1",
    "JOIN click ON TRUE",
    "ARRAY[1, 2]",
    "double_price",
    "JSON_VALUE(bidder, '$.a')",
    "bid.price",
    "t.tag",
];

/// A small generator: the same texts at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// Words of the machinery that no message may have.
const FORBIDDEN: &[&str] =
    &["DataFusion", "datafusion", "__", "Utf8", "Int64", "Int32", "LogicalPlan", "Backtrace", "panicked"];

fn check_message(sql: &str, text: &str) {
    let quoted = text.lines().filter(|line| !line.contains(" | ") && !line.trim_start().starts_with('|'));
    let said: String = quoted.collect::<Vec<_>>().join("\n");
    let leaked = FORBIDDEN.iter().find(|word| text.starts_with("error") && said.contains(**word));
    assert!(leaked.is_none(), "{sql}\n{text}");
}

#[test]
fn random_queries_give_a_plan_or_a_diagnostic() {
    let mut random = Random(7);
    let mut fixture = Fixture::new();
    for _ in 0..1500 {
        let mut sql = String::from(if random.below(8) == 0 { "" } else { "SELECT" });
        for _ in 0..2 + random.below(9) {
            sql.push(' ');
            sql.push_str(PIECES[random.below(PIECES.len())]);
        }
        check_message(&sql, &fixture.graph(&sql));
    }
}

const INPUTS: &[&str] = &[
    "bid",
    "click",
    "bid$errors",
    "(SELECT bidder, price, ts FROM bid WHERE price > 1) AS s",
    "TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND))",
    "TABLE(HOP(TABLE bid, DESCRIPTOR(ts), INTERVAL '5' SECOND, INTERVAL '10' SECOND))",
    "TABLE(CUMULATE(TABLE bid, DESCRIPTOR(ts), INTERVAL '30' SECOND, INTERVAL '1' MINUTE))",
    "TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(ts), INTERVAL '6' SECOND))",
    "bid CROSS JOIN UNNEST(tags) AS t (tag)",
    "(VALUES (1, 'a', NULL), (2, 'b', 3)) AS v (price, bidder, auction)",
    "(SELECT bidder, price, auction FROM bid UNION ALL SELECT who, 1, NULL FROM click)",
    "(SELECT window_start, window_end, bidder, SUM(price) AS price FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts),
      INTERVAL '10' SECOND)) GROUP BY window_start, window_end, bidder)",
];
const EXPRESSIONS: &[&str] = &[
    "bidder",
    "price",
    "auction",
    "price + 1",
    "price / 0",
    "UPPER(bidder)",
    "COUNT(*)",
    "SUM(price)",
    "MAX(bidder)",
    "COUNT(DISTINCT price)",
    "window_start",
    "window_end",
    "window_time",
    "CAST(bidder AS INT)",
    "CAST(price AS DOUBLE)",
    "COALESCE(bidder, 'x')",
    "CASE WHEN price > 1 THEN bidder END",
    "price > 3 AND bidder = 'a'",
    "tag",
    "NULL",
    "'lit'",
    "SUM(price) FILTER (WHERE bidder = 'ann')",
    "GROUPING(bidder)",
    "MIN(ts)",
    "price * 1.5",
    "-price",
    "ts",
    "tags",
    "TIMESTAMPADD(DAY, 1, ts)",
    "DATE_FORMAT(ts, 'yyyy')",
    "CARDINALITY(tags)",
    "tags[1]",
    "*",
    "AVG(price)",
    "COUNT(price)",
    "COUNT(*)",
    "SUM(price)",
    "window_start",
    "bidder",
];
const CONDITIONS: &[&str] = &[
    "",
    "",
    "WHERE price > 1",
    "WHERE bidder LIKE 'a%' OR price IS NULL",
    "WHERE window_start > ts",
    "WHERE window_start > TIMESTAMP '2024-01-01 00:00:05' AND price > 10",
    "WHERE price",
];
const GROUPS: &[&str] = &[
    "",
    "",
    "GROUP BY bidder",
    "GROUP BY window_start, window_end",
    "GROUP BY window_start, window_end, bidder",
    "GROUP BY window_start, window_end, auction",
    "GROUP BY window_end, window_start, CUBE (bidder, auction)",
    "GROUP BY ROLLUP (bidder)",
    "GROUP BY price + 1",
    "GROUP BY window_start",
    "GROUP BY window_start, window_end, bidder HAVING COUNT(*) > 1 AND bidder <> 'cat'",
    "GROUP BY GROUPING SETS ((bidder), (price), ())",
];

/// Better formed: a list of expressions, an input, and clauses in their order.
fn random_select(random: &mut Random) -> String {
    let of = |random: &mut Random, choices: &[&'static str]| choices[random.below(choices.len())];
    let columns: Vec<_> = (0..1 + random.below(4)).map(|_| of(random, EXPRESSIONS)).collect();
    let (input, condition, group) = (of(random, INPUTS), of(random, CONDITIONS), of(random, GROUPS));
    let distinct = of(random, &["", "", "", "DISTINCT"]);
    format!("SELECT {distinct} {} FROM {input} {condition} {group}", columns.join(", "))
}

#[test]
fn random_selects_give_a_plan_or_a_diagnostic() {
    let mut random = Random(11);
    let mut fixture = Fixture::new();
    let mut planned = 0;
    for _ in 0..1500 {
        let sql = random_select(&mut random);
        let text = fixture.graph(&sql);
        planned += usize::from(!text.starts_with("error"));
        check_message(&sql, &text);
    }
    assert!(planned > 100, "only {planned} of the queries could be planned");
}

/// Random queries that are run in two ways; 1,200 were compared once.
const COMPARED_QUERIES: usize = 60;

/// A query gives the same table however it is planned and run; or it fails however it is.
#[test]
fn random_selects_give_the_same_rows_however_they_run() {
    let mut random = Random(23);
    let mut compared = 0;
    while compared < COMPARED_QUERIES {
        let sql = random_select(&mut random);
        if Fixture::new().graph(&sql).starts_with("error") {
            continue;
        }
        let plain = fixture_with_rows().table_of(&sql, 1);
        let unoptimized = fixture_with_rows()
            .set("tidemill.optimizer.enabled", "false")
            .set("table.optimizer.agg-phase-strategy", "ONE_PHASE")
            .table_of(&sql, 2);
        match (plain, unoptimized) {
            (Err(_), Err(_)) => {}
            (plain, unoptimized) => assert_eq!(plain, unoptimized, "{sql}"),
        }
        compared += 1;
    }
}

fn fixture_with_rows() -> Fixture {
    let bids = "1|ann|10|2024-01-01 00:00:01|1,2\n1|bob|20|2024-01-01 00:00:03|3\n2|ann|30|2024-01-01 00:00:09|
        2|cat|40|2024-01-01 00:00:12|4,5,6\n3|ann||2024-01-01 00:00:14|7\n3|bob|60|2024-01-01 00:01:05|8";
    Fixture::new().with_rows("bid", bids).with_rows("click", "ann|2024-01-01 00:00:00\nbob|2024-01-01 00:00:00")
}

#[test]
fn deep_queries_do_not_exhaust_the_stack() {
    let mut fixture = Fixture::new();
    let sum = vec!["price"; 250].join(" + ");
    let and = vec!["price > 1"; 100].join(" AND ");
    let nested = format!("{}bid{}", "(SELECT * FROM ".repeat(40), ")".repeat(40));
    let union = vec!["SELECT bidder FROM bid"; 200].join(" UNION ALL ");
    let case = format!("{}1{}", "CASE WHEN price > 1 THEN ".repeat(40), " END".repeat(40));
    for sql in [
        format!("SELECT {sum} FROM bid WHERE {and}"),
        format!("SELECT * FROM {nested}"),
        union,
        format!("SELECT {case} FROM bid"),
        format!("SELECT {}price{} FROM bid", "ABS(".repeat(50), ")".repeat(50)),
    ] {
        let text = fixture.graph(&sql);
        assert!(!text.starts_with("error") || text.contains("deep"), "{}", &text[..text.len().min(400)]);
    }
    let views: String = (1..30).map(|i| format!("CREATE VIEW v{i} AS SELECT * FROM v{};", i - 1)).collect();
    let text = fixture.graph(&format!("CREATE VIEW v0 AS SELECT * FROM bid;{views} SELECT bidder FROM v29"));
    assert!(text.starts_with("#0 Source(bid)"), "{text}");
}

/// One number or a list of names must not make the planner take gigabytes (constants are computed while planning).
#[test]
fn numbers_and_names_do_not_exhaust_memory() {
    let mut fixture = Fixture::new();
    let columns = |count: usize| (0..count).map(|i| format!("price AS c{i}")).collect::<Vec<_>>().join(", ");
    for (sql, expected) in [
        (format!("SELECT {} FROM bid", columns(4_001)), "more than 4000 columns in one SELECT"),
        (
            format!(
                "CREATE TABLE w ({}) WITH ('connector' = 'datagen')",
                (0..4_001).map(|i| format!("c{i} INT")).collect::<Vec<_>>().join(", ")
            ),
            "more than 4000 columns in one table",
        ),
    ] {
        let text = fixture.graph(&sql);
        assert!(text.contains(expected), "{}", &text[..text.len().min(400)]);
    }
    // What is too long fails when it is computed, as a division by zero does, and never while planning.
    for call in
        ["REPEAT('x', 2000000000)", "CARDINALITY(ARRAY_REPEAT(1, 2000000000))", "CARDINALITY(RANGE(0, 2000000000))"]
    {
        let text = fixture.graph(&format!("SELECT {call} FROM bid"));
        assert!(text.starts_with("#0 Source(bid)") || text.starts_with("error"), "{}", &text[..text.len().min(400)]);
    }
}
