//! EXPLAIN of a planned job.

use expect_test::expect;

use super::fixture::Fixture;
use crate::explain::explain_with;
use crate::parser::statement::ExplainDetail;

#[test]
fn explain_shows_each_stage() {
    let sql = "INSERT INTO files SELECT window_start, bidder, SUM(price + 1) FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '1' MINUTE))
WHERE price > 2 + 3 GROUP BY window_start, window_end, bidder";
    let mut fixture = Fixture::new();
    let job = fixture.plan(sql).unwrap_or_else(|found| panic!("{found}"));
    expect![[r#"
        == Logical Plan ==
        Sink: files
          Projection: bid.window_start, bid.bidder, sum(bid.price + 1) AS EXPR$2
            Aggregate: groupBy=[[bid.window_start, bid.window_end, bid.bidder]], aggr=[[sum(bid.price + 1) AS sum(bid.price + 1)]]
              Filter: bid.price > 2 + 3
                SubqueryAlias: bid
                  Projection: bid.auction, bid.bidder, bid.price, bid.ts, bid.tags, bid.double_price, window_start AS window_start, window_end AS window_end, window_time AS window_time
                    Window: TUMBLE(size 1 min), time=bid.ts
                      TableScan: bid

        == Optimized Plan ==
        Sink: files
          Projection: bid.window_start, bid.bidder, sum(bid.price + 1) AS EXPR$2
            Aggregate: groupBy=[[bid.window_start, bid.window_end, bid.bidder]], aggr=[[sum(bid.price + 1) AS sum(bid.price + 1)]]
              SubqueryAlias: bid
                Projection: bid.bidder, bid.price, window_start AS window_start, window_end AS window_end
                  Window: TUMBLE(size 1 min), time=bid.ts
                    Filter: bid.price > 5
                      TableScan: bid projection=[bidder, price, ts]

        == Operators ==
        #0 Source(bid) [parallelism=job]
             columns: bidder, price, ts
             watermark: ts AS ts - INTERVAL '5' SECOND
        #1 Calc <- #0 forward [parallelism=job]
             select: bidder, price + 1 AS price + 1, ts
             where: price > 5
        #2 LocalWindowAggregate <- #1 forward [parallelism=job]
             window: TUMBLE(size 1 min) by ts
             group by: bidder
             aggregates: SUM(price + 1)
             state: aggregates per key and window; freed when a window closes
        #3 GlobalWindowAggregate <- #2 hash(bidder) [parallelism=job]
             window: TUMBLE(size 1 min) by ts
             group by: bidder
             aggregates: SUM(price + 1)
             state: aggregates per key and window; freed when a window closes
        #4 Calc <- #3 forward [parallelism=job]
             select: window_start, bidder, SUM(price + 1) AS total
        #5 Sink(files) <- #4 forward [parallelism=job]
             guarantee: exactly once
    "#]].assert_eq(&explain_with(&job, &[]));
    expect![[r#"
        digraph job {
          rankdir=LR;
          node [shape=box, fontname="sans-serif"];
          n0 [label="Source(bid)\lcolumns: bidder, price, ts\lwatermark: ts AS ts - INTERVAL '5' SECOND\l", shape=cds];
          n1 [label="Calc\lselect: bidder, price + 1 AS price + 1, ts\lwhere: price > 5\l"];
          n0 -> n1 [label="forward"];
          n2 [label="LocalWindowAggregate\lwindow: TUMBLE(size 1 min) by ts\lgroup by: bidder\laggregates: SUM(price + 1)\lstate: aggregates per key and window; freed when a window closes\l"];
          n1 -> n2 [label="forward"];
          n3 [label="GlobalWindowAggregate\lwindow: TUMBLE(size 1 min) by ts\lgroup by: bidder\laggregates: SUM(price + 1)\lstate: aggregates per key and window; freed when a window closes\l"];
          n2 -> n3 [label="hash(bidder)"];
          n4 [label="Calc\lselect: window_start, bidder, SUM(price + 1) AS total\l"];
          n3 -> n4 [label="forward"];
          n5 [label="Sink(files)\lguarantee: exactly once\l", shape=folder];
          n4 -> n5 [label="forward"];
        }
    "#]].assert_eq(&crate::explain::graph_as_dot(&job.graph));
    let json = crate::explain::graph_as_json(&job.graph);
    assert!(json.contains("\"name\": \"Source(bid)\""), "{json}");
}

#[test]
fn changelog_mode_draws_the_plan_as_flink_does() {
    let sql = "SELECT a.bidder, n, COUNT(*) FROM (SELECT bidder, COUNT(*) AS n FROM bid GROUP BY bidder) AS a \
               LEFT JOIN bid AS b ON a.bidder = b.bidder GROUP BY a.bidder, n";
    let mut fixture = Fixture::new();
    let job = fixture.plan(sql).unwrap_or_else(|found| panic!("{found}"));
    let tree = crate::explain::graph_as_tree(&job.graph);
    assert!(crate::explain::explain(&job).contains(&format!("== Optimized Physical Plan ==\n{tree}")));
    expect![[r#"
        Sink(table=[print], guarantee=[exactly once], changelogMode=[NONE])
        +- Calc(select=[bidder, n, COUNT(*) AS EXPR$2], changelogMode=[I,UB,UA,D])
           +- GroupAggregate(groupBy=[bidder, n], aggregates=[COUNT(*)], changelogMode=[I,UB,UA,D])
              +- Exchange(distribution=[hash[bidder, n]], changelogMode=[I,UB,UA,D])
                 +- Calc(select=[bidder, COUNT(*) AS n], changelogMode=[I,UB,UA,D])
                    +- Join(type=[left], on=[bidder = bidder], changelogMode=[I,UB,UA,D])
                       :- Exchange(distribution=[hash[bidder]], changelogMode=[I,UB,UA,D])
                       :  +- GroupAggregate(groupBy=[bidder], aggregates=[COUNT(*)], changelogMode=[I,UB,UA,D])
                       :     +- Exchange(distribution=[hash[bidder]], changelogMode=[I])
                       :        +- TableSourceScan(table=[bid], fields=[bidder], changelogMode=[I])(reference_id=[0])
                       +- Exchange(distribution=[hash[bidder]], changelogMode=[I])
                          +- Reused(reference_id=[0])
    "#]]
    .assert_eq(&tree);
}

#[test]
fn advice_is_what_the_plan_is_warned_of() {
    let mut fixture = Fixture::new();
    let mut job = fixture.plan("SELECT bidder FROM bid").unwrap_or_else(|found| panic!("{found}"));
    let mut advice = |warnings: &[&str]| {
        job.warnings = warnings.iter().map(|warning| warning.to_string()).collect();
        explain_with(&job, &[ExplainDetail::PlanAdvice])
    };
    assert!(advice(&[]).ends_with("\n== Advice ==\nNo available advice...\n"));
    assert!(advice(&["it grows", "it waits"]).ends_with("\n== Advice ==\nit grows\nit waits\n"));
}
