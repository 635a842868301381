//! Queries of the pages on SQL, run over rows that their tables could have.

use super::reader::Reader;
use super::text::{Block, Page};
use crate::lookups::postgres::Postgres;
use crate::lookups::web_server::{Reply, WebServer};

const SALES: &str =
    "CREATE TABLE sales (shop STRING, item STRING, price DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'sales.csv', 'format' = 'csv');";
const SALES_ROWS: &str = "a,pen,1,2024-01-01 10:00:00
a,ink,5,2024-01-01 10:01:00
a,cup,3,2024-01-01 10:02:00
a,hat,4,2024-01-01 10:03:00
b,pen,2,2024-01-01 10:04:00
";
const TRADES: &str = "CREATE TABLE trades (k STRING, v INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'trades.csv', 'format' = 'csv');";
const TRADES_ROWS: &str = "x,1,2024-01-01 10:00:00\nx,4,2024-01-01 10:00:03\nx,10,2024-01-01 10:30:00\n";

/// All rows that a block's queries print, as CSV, each query's sorted below its heading; `setup`: what its tables are.
fn answers(reader: &Reader, setup: &str, sql: &str) -> Vec<String> {
    reader.write("page.sql", &format!("{setup}\n{sql}"));
    let output = reader.output("tidemill --format csv -f page.sql");
    let (rows, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{sql}");
    let mut lines: Vec<String> = rows.lines().map(str::to_string).collect();
    if sql.matches("SELECT").count() > 0 {
        assert!(!lines.is_empty(), "no row, not even of headings: {said}\n{sql}");
        lines[1..].sort();
    }
    lines
}

fn check(reader: &Reader, setup: &str, block: &Block, expected: &[&str]) {
    let sql = block.run();
    assert_eq!(answers(reader, setup, sql), expected, "{sql}");
}

/// Of random rows, of which only the number is known.
fn check_count(reader: &Reader, sql: &str, count: std::ops::RangeInclusive<usize>) {
    let rows = answers(reader, "", sql).len() - 1;
    assert!(count.contains(&rows), "{rows} rows of\n{sql}");
}

pub fn changelogs(page: &Page) -> Option<()> {
    let bids = "CREATE VIEW bids AS SELECT * FROM (VALUES ('pen'), ('pen'), ('ink'), ('cup')) AS v (item);";
    check(&Reader::new(), bids, page.below("## On the way")[0], &["n,items", "1,2", "2,1"]);
    Some(())
}

pub fn changes(page: &Page) -> Option<()> {
    let reader = Reader::new();
    let row = |id: u32, shop: &str, amount: &str| format!("{{\"id\":{id},\"shop\":\"{shop}\",\"amount\":{amount}}}");
    let lines = [
        format!("{{\"before\":null,\"after\":{},\"op\":\"c\"}}", row(1, "north", "2.50")),
        format!("{{\"before\":null,\"after\":{},\"op\":\"c\"}}", row(2, "south", "4.00")),
        format!("{{\"before\":{},\"after\":{},\"op\":\"u\"}}", row(1, "north", "2.50"), row(1, "south", "3.00")),
    ];
    reader.write("orders.json", &(lines.join("\n") + "\n"));
    reader.write("job.sql", page.below("# Changes of a table in files")[0].run());
    reader.succeed("tidemill run job.sql");
    assert_eq!(reader.run("cat totals/snapshot.csv"), "south,2,7.00");
    Some(())
}

pub fn joins(page: &Page) -> Option<()> {
    let reader = Reader::new();
    let orders = "CREATE VIEW orders AS SELECT * FROM (VALUES (1, 10, 7, 'ann'), (2, 1, 7, 'bob')) AS v (id, amount, product, customer);
CREATE VIEW products AS SELECT * FROM (VALUES (7, 3, 5)) AS v (id, price, minimum);
CREATE VIEW blocked AS SELECT * FROM (VALUES ('bob')) AS v (id);";
    let block = page.below("# Joins, subqueries and set operations")[0];
    check(&reader, orders, block, &["id,total", "1,10,7,ann", "1,30", "id,amount,product,customer"]);
    let states = "CREATE VIEW states AS SELECT * FROM (VALUES ('N'), ('S')) AS v (state);
CREATE VIEW cities AS SELECT * FROM (VALUES ('N', 'Aa', 5), ('N', 'Bb', 9), ('N', 'Cc', 7), ('S', 'Dd', 1)) AS v (state, name, population);";
    check(&reader, states, page.below("## Subqueries")[0], &["state,name", "N,Bb", "N,Cc", "S,Dd"]);
    reader.write(
        "bid.csv",
        "1,5,2024-01-01 10:00:01\n2,7,2024-01-01 10:00:05\n3,7,2024-01-01 10:00:12\n4,3,2024-01-01 10:00:15\n",
    );
    let bids = "CREATE TABLE bid (id INT, price INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'bid.csv', 'format' = 'csv');";
    let highest = ["id,price,ts", "2,7,2024-01-01 10:00:05.000", "3,7,2024-01-01 10:00:12.000"];
    check(&reader, bids, page.below("## State")[0], &highest);
    Some(())
}

pub fn ranking(page: &Page) -> Option<()> {
    let reader = Reader::new();
    reader.write("sales.csv", SALES_ROWS);
    reader.write("trades.csv", TRADES_ROWS);
    let top = [
        "shop,item,price,n",
        "a,cup,3.0,3",
        "a,hat,4.0,2",
        "a,ink",
        "a,ink,5.0,1",
        "b,pen",
        "b,pen,2.0,1",
        "shop,item",
    ];
    check(&reader, SALES, page.below("## Top-N")[0], &top);
    let windows = "2024-01-01 10:00:00.000,2024-01-01 10:10:00.000,2024-01-01 10:09:59.999";
    let row = |row: &str, n: u32| format!("{row},{windows},{n}");
    let rows = [
        row("a,cup,3.0,2024-01-01 10:02:00.000", 3),
        row("a,hat,4.0,2024-01-01 10:03:00.000", 2),
        row("a,ink,5.0,2024-01-01 10:01:00.000", 1),
        row("b,pen,2.0,2024-01-01 10:04:00.000", 1),
    ];
    let rows: Vec<&str> = ["shop,item,price,ts,window_start,window_end,window_time,n"]
        .into_iter()
        .chain(rows.iter().map(String::as_str))
        .collect();
    check(&reader, SALES, page.below("## In windows")[0], &rows);
    let over = ["k,v,EXPR$2,EXPR$3,EXPR$4,step", "x,1,1,1,1,", "x,10,15,5,3,6", "x,4,5,2,2,3"];
    check(&reader, TRADES, page.below("## OVER")[0], &over);
    check(
        &reader,
        TRADES,
        page.below("### Rows that follow")[0],
        &["k,v,next,smooth", "x,1,4,2", "x,10,,10", "x,4,10,2"],
    );
    let shares = [
        "window_start,shop,price,share,quarter",
        "2024-01-01 10:00:00.000,a,1.0,0.07692307692307693,1",
        "2024-01-01 10:00:00.000,a,3.0,0.23076923076923078,2",
        "2024-01-01 10:00:00.000,a,4.0,0.3076923076923077,3",
        "2024-01-01 10:00:00.000,a,5.0,0.38461538461538464,4",
        "2024-01-01 10:00:00.000,b,2.0,1.0,1",
    ];
    check(&reader, SALES, page.below("### Whole partitions")[0], &shares);
    Some(())
}

pub fn sql(page: &Page) -> Option<()> {
    let reader = Reader::new();
    check_count(&reader, page.below("# SQL")[0].run(), 20..=99);
    check(&reader, "", page.below("## Queries")[0], &["id,item,n", "1,cup,2", "1,pen,1", "2,hat,1"]);
    check_count(&reader, page.below("## Time and windows")[0].run(), 3..=6);
    // Its settings change what a window over a stream gives: more than one result.
    reader.write("sales.csv", SALES_ROWS);
    let settings = page.below("### Early and corrected results")[0].run().replace("'5 s'", "'0 s'");
    let query = "SELECT window_start, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE sales, DESCRIPTOR(ts), INTERVAL '10' MINUTE))\nGROUP BY window_start, window_end;";
    reader.write("job.sql", &format!("{settings}{SALES}{query}"));
    let printed = reader.run("tidemill run job.sql");
    let rows: Vec<&str> = printed.lines().filter(|line| line.contains("2024-01-01 10:00:00.000")).collect();
    assert!(rows.len() >= 3 && rows[0].starts_with("| +I ") && rows.last().unwrap().ends_with(" 5 |"), "{printed}");
    Some(())
}

pub fn time_joins(page: &Page) -> Option<()> {
    let reader = Reader::new();
    // Random rows of a hundred each, with nine keys: a pair for each tenth of all at least, and no more than all.
    check_count(&reader, page.below("## By the distance of times: interval joins")[0].run(), 100..=10_000);
    check_count(&reader, page.below("## By window: window joins")[0].run(), 100..=10_000);
    check_count(&reader, page.below("## By version: temporal joins")[0].run(), 0..=100);
    Some(())
}

pub fn lookup(page: &Page) -> Option<()> {
    let reader = Reader::new();
    check_count(&reader, page.below("## Tables that are held whole")[0].run(), 1..=900);
    let users = WebServer::start(|path, _| {
        let id = path.trim_start_matches("/v1/users/").split('?').next().unwrap_or_default();
        let user = format!("{{\"name\": \"user {id}\", \"score\": {id}.5}}");
        Reply::json(if path.contains("?fields=name,score") { format!("{{\"data\": {user}}}") } else { user })
    });
    for heading in ["## Web services", "## Slow servers, failures and order"] {
        let sql = page.below(heading)[0].run().replace("https://users.example", &users.url(""));
        check_count(&reader, &sql, 100..=100);
        assert!(answers(&reader, "", &sql)[1].contains(",user "), "{heading}");
    }
    let database = Postgres::start()?;
    database.sql(&[
        "CREATE TABLE users AS SELECT id, 'north' AS region, 'user ' || id AS name FROM generate_series(1, 9) AS id",
    ]);
    let sql = page.below("# Lookup joins")[0].run();
    let theirs =
        "'jdbc:postgresql://localhost:5432/shop',\n  'table-name' = 'users', 'username' = 'reader', 'password' = '...'";
    assert!(sql.contains(theirs), "{sql}");
    let ours = database.options("users", "");
    let url = ours.split_once("'url' = ").expect("a URL").1;
    check_count(&reader, &sql.replace(theirs, url), 100..=100);
    Some(())
}
