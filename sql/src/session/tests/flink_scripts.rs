//! Statements as Flink's users write them (its documentation, Nexmark): the columns that each gives, or why not.

use expect_test::{ExpectFile, expect_file};

use super::{run, session};
use crate::Diagnostic;
use crate::parser::parse_script;
use crate::parser::statement::StatementKind;
use crate::plan::{Output, plan_job, query_schema};
use crate::session::Session;
use crate::types::flink_name;

const NEXMARK: &str = "
CREATE TABLE nexmark (
    event_type INT,
    person ROW<id BIGINT, name VARCHAR, emailAddress VARCHAR, creditCard VARCHAR, city VARCHAR, state VARCHAR, `dateTime` TIMESTAMP(3), extra VARCHAR>,
    auction ROW<id BIGINT, itemName VARCHAR, description VARCHAR, initialBid BIGINT, reserve BIGINT, `dateTime` TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra VARCHAR>,
    bid ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, `dateTime` TIMESTAMP(3), extra VARCHAR>,
    `dateTime` AS CASE WHEN event_type = 0 THEN person.`dateTime` WHEN event_type = 1 THEN auction.`dateTime` ELSE bid.`dateTime` END,
    p_time AS PROCTIME(),
    WATERMARK FOR `dateTime` AS `dateTime` - INTERVAL '4' SECOND
) WITH ('connector' = 'fake');
CREATE VIEW person AS SELECT person.id, person.name, person.state, `dateTime` FROM nexmark WHERE event_type = 0;
CREATE VIEW auction AS SELECT auction.id, auction.itemName, auction.category, auction.seller, `dateTime`, auction.expires FROM nexmark WHERE event_type = 1;
CREATE VIEW bid AS SELECT bid.auction, bid.bidder, bid.price, bid.channel, bid.url, `dateTime`, bid.extra FROM nexmark WHERE event_type = 2;
CREATE TABLE orders (user_id BIGINT, product STRING, amount INT, price DECIMAL(10, 2), order_time TIMESTAMP(3), tags ARRAY<STRING>, doc STRING,
    attributes MAP<STRING, STRING>, items ARRAY<ROW<sku STRING, n INT>>, ltz TIMESTAMP_LTZ(3), proc AS PROCTIME(),
    WATERMARK FOR order_time AS order_time - INTERVAL '5' SECOND) WITH ('connector' = 'fake');";

/// The columns of each query over the tables above, in one file.
fn check_all(queries: &[&str], expected: ExpectFile) {
    let mut session = session();
    assert_eq!(run(&mut session, NEXMARK), "");
    let answer = |query: &&str| {
        let columns = columns(&session, query);
        format!("-- {query}\n{}\n", columns.unwrap_or_else(|error| error.render("t.sql", query)))
    };
    expected.assert_eq(&queries.iter().map(answer).collect::<String>());
}

/// Plans a query; name and type of each column of its result.
fn columns(session: &Session, query: &str) -> Result<String, Diagnostic> {
    let statements = parse_script(query).map_err(|mut errors| errors.remove(0))?;
    let StatementKind::Query(parsed) = &statements[0].kind else { panic!("not a query: {query}") };
    let context = session.context();
    let schema = query_schema(&context, parsed)?;
    plan_job(&context, &[Output::Print(parsed)])?;
    let columns = schema.fields().iter();
    Ok(columns.map(|c| format!("{} {}\n", c.name(), flink_name(c.data_type(), c.is_nullable()))).collect())
}

#[test]
fn nexmark() {
    check_all(&[
    "SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM bid",
    "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
    "SELECT B.auction, B.num FROM (SELECT auction, COUNT(*) AS num, window_start AS starttime, window_end AS endtime
           FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end) AS B",
    "SELECT bidder, COUNT(*) AS bid_count, SESSION_START(`dateTime`, INTERVAL '10' SECOND) AS starttime, SESSION_END(`dateTime`, INTERVAL '10' SECOND) AS endtime
         FROM bid GROUP BY bidder, SESSION(`dateTime`, INTERVAL '10' SECOND)",
    "SELECT auction, bidder, 0.908 * price AS price, CASE WHEN HOUR(`dateTime`) >= 8 AND HOUR(`dateTime`) <= 18 THEN 'dayTime'
           WHEN HOUR(`dateTime`) <= 6 OR HOUR(`dateTime`) >= 20 THEN 'nightTime' ELSE 'otherTime' END AS bidTimeType, `dateTime`, extra
         FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
    "SELECT DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS `day`, COUNT(*) AS total_bids, COUNT(*) FILTER (WHERE price < 10000) AS rank1_bids,
           COUNT(DISTINCT bidder) AS total_bidders, COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders
         FROM bid GROUP BY DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
    "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1, SPLIT_INDEX(url, '/', 4) AS dir2,
           CASE WHEN lower(channel) = 'apple' THEN '0' ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id FROM bid",
], expect_file!["expected/nexmark.txt"]);
}

#[test]
fn windows() {
    check_all(&[
    "SELECT window_start, window_end, SUM(price) AS total_price FROM TABLE(TUMBLE(DATA => TABLE orders, TIMECOL => DESCRIPTOR(order_time), SIZE => INTERVAL '10' MINUTES)) GROUP BY window_start, window_end",
    "SELECT window_start, window_end, user_id, SUM(price) AS price FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '10' MINUTES))
         GROUP BY window_start, window_end, GROUPING SETS ((user_id), ())",
    "WITH w1 AS (SELECT window_start, window_end, window_time AS rowtime, SUM(price) AS partial_price FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '5' MINUTES)) GROUP BY user_id, window_start, window_end, window_time)
         SELECT window_start, window_end, SUM(partial_price) AS total FROM TABLE(TUMBLE(TABLE w1, DESCRIPTOR(rowtime), INTERVAL '10' MINUTES)) GROUP BY window_start, window_end",
    "SELECT window_start, window_end, product, SUM(amount) FROM TABLE(SESSION(TABLE orders PARTITION BY product, DESCRIPTOR(order_time), INTERVAL '5' MINUTES)) GROUP BY product, window_start, window_end",
    "SELECT * FROM TABLE(CUMULATE(TABLE orders, DESCRIPTOR(proc), INTERVAL '2' MINUTES, INTERVAL '10' MINUTES))",
    "SELECT user_id, TUMBLE_START(order_time, INTERVAL '1' DAY) AS wStart, TUMBLE_ROWTIME(order_time, INTERVAL '1' DAY) AS t, SUM(amount) FROM orders GROUP BY TUMBLE(order_time, INTERVAL '1' DAY), user_id",
    "SELECT orders.product, window_time FROM TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '1' MONTH)",
], expect_file!["expected/windows.txt"]);
}

#[test]
fn unnest_and_nested() {
    check_all(
        &[
            "SELECT user_id, tag FROM orders CROSS JOIN UNNEST(tags) AS t (tag)",
            "SELECT user_id, t.sku, t.n FROM orders, UNNEST(items) AS t (sku, n) WHERE t.n > 1",
            "SELECT o.user_id, k, v FROM orders AS o LEFT JOIN UNNEST(o.attributes) AS t (k, v) ON TRUE",
            "SELECT tag, pos FROM orders CROSS JOIN UNNEST(tags) WITH ORDINALITY AS t (tag, pos)",
            "SELECT tags[1], attributes['a'], items[1].sku, CARDINALITY(tags), ROW(1, 'a'), ARRAY[1, 2], MAP['a', 1.5] FROM orders",
            "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t (x, y)",
            "SELECT * FROM UNNEST(ARRAY[1, 2, 3]) AS t (x)",
        ],
        expect_file!["expected/unnest_and_nested.txt"],
    );
}

#[test]
fn expressions() {
    check_all(&[
    "SELECT 1, 1.5, 1e3, 'x', TRUE, NULL, DATE '2024-01-31', TIME '10:00:00', TIMESTAMP '2024-01-31 10:00:00.123', INTERVAL '1' DAY, INTERVAL '2' MONTH FROM orders",
    "SELECT CAST(amount AS STRING), CAST('1' AS INT), CAST(product AS VARCHAR(3)), CAST(product AS CHAR(3)), CAST(price AS DECIMAL(5, 1)), TRY_CAST(product AS BIGINT),
           CAST(order_time AS DATE), CAST(order_time AS TIMESTAMP_LTZ(3)), CAST(product AS TIMESTAMP(3)), CAST(ROW(1, 'a') AS ROW<x BIGINT, y STRING>), CAST(product AS BYTES) FROM orders",
    "SELECT EXTRACT(YEAR FROM order_time), FLOOR(order_time TO HOUR), CEIL(order_time TO DAY), TIMESTAMPDIFF(DAY, order_time, order_time), TIMESTAMPADD(MONTH, 1, order_time),
           order_time + INTERVAL '1' DAY, order_time - INTERVAL '3' MONTH, CURRENT_TIMESTAMP, CURRENT_DATE, LOCALTIMESTAMP, NOW(), CURRENT_WATERMARK(order_time), ltz + INTERVAL '5' SECOND FROM orders",
    "SELECT JSON_VALUE(doc, '$.a'), JSON_VALUE(doc, '$.b' RETURNING INT DEFAULT 0 ON EMPTY NULL ON ERROR), JSON_QUERY(doc, '$.c' WITH WRAPPER), JSON_EXISTS(doc, '$.d'),
           doc IS JSON OBJECT, JSON_OBJECT('k' VALUE amount), JSON_ARRAY(1, 'x') FROM orders",
    "SELECT TRIM(BOTH 'x' FROM product), TRIM(product), POSITION('a' IN product), OVERLAY(product PLACING 'b' FROM 1 FOR 2), SUBSTRING(product FROM 2 FOR 3), product || '-' || doc,
           UPPER(product), CHAR_LENGTH(product), product LIKE 'a%', product SIMILAR TO 'a.*', IF(amount > 1, 'a', 'b'), IFNULL(product, 'x'), COALESCE(product, 'y'), NULLIF(amount, 0) FROM orders",
    "SELECT amount / 2, amount % 2, price * amount, price / 3, amount + 1, amount * 1.5, ABS(amount), ROUND(price, 1), POWER(amount, 2), product IS DISTINCT FROM doc, amount BETWEEN 1 AND 3 FROM orders",
    "SELECT COUNT(*), COUNT(DISTINCT product), SUM(amount), SUM(price), AVG(amount), AVG(price), MIN(product), MAX(order_time), STDDEV_POP(amount), VAR_SAMP(amount), FIRST_VALUE(product), LAST_VALUE(amount), LISTAGG(product, ';') FROM orders",
], expect_file!["expected/expressions.txt"]);
}
