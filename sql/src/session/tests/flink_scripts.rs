//! Statements as Flink's users write them (its documentation, Nexmark): the columns that each gives, or why not.

use expect_test::{Expect, expect};

use super::{run, session};
use crate::parser::parse_script;
use crate::parser::statement::StatementKind;
use crate::plan::{Output, plan_job, query_schema};
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

/// Plans a query over the tables above; prints its columns.
fn check(query: &str, expected: Expect) {
    let mut session = session();
    assert_eq!(run(&mut session, NEXMARK), "");
    let statements = parse_script(query).unwrap_or_else(|errors| panic!("{}", errors[0].render("t.sql", query)));
    let context = session.context();
    let planned = statements.iter().map(|statement| {
        let StatementKind::Query(parsed) = &statement.kind else { panic!("not a query") };
        let schema = query_schema(&context, parsed)?;
        plan_job(&context, &[Output::Print(parsed)])?;
        let columns = schema.fields().iter();
        let columns = columns.map(|c| format!("{} {}\n", c.name(), flink_name(c.data_type(), c.is_nullable())));
        Ok(columns.collect::<String>())
    });
    let answer = planned.map(|columns| columns.unwrap_or_else(|error: crate::Diagnostic| error.render("t.sql", query)));
    expected.assert_eq(&answer.collect::<String>());
}

#[test]
fn nexmark() {
    check(
        "SELECT auction, bidder, 0.908 * price AS price, `dateTime`, extra FROM bid",
        expect![[r#"
            auction BIGINT
            bidder BIGINT
            price DECIMAL(24, 3)
            dateTime TIMESTAMP(3)
            extra STRING
        "#]],
    );
    check(
        "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0",
        expect![[r#"
            auction BIGINT
            price BIGINT
        "#]],
    );
    check(
        "SELECT B.auction, B.num FROM (SELECT auction, COUNT(*) AS num, window_start AS starttime, window_end AS endtime
           FROM TABLE(HOP(TABLE bid, DESCRIPTOR(`dateTime`), INTERVAL '2' SECOND, INTERVAL '10' SECOND)) GROUP BY auction, window_start, window_end) AS B",
        expect![[r#"
            auction BIGINT
            num BIGINT NOT NULL
        "#]],
    );
    check(
        "SELECT bidder, COUNT(*) AS bid_count, SESSION_START(`dateTime`, INTERVAL '10' SECOND) AS starttime, SESSION_END(`dateTime`, INTERVAL '10' SECOND) AS endtime
         FROM bid GROUP BY bidder, SESSION(`dateTime`, INTERVAL '10' SECOND)",
        expect![[r#"
            bidder BIGINT
            bid_count BIGINT NOT NULL
            starttime TIMESTAMP(3) NOT NULL
            endtime TIMESTAMP(3) NOT NULL
        "#]],
    );
    check(
        "SELECT auction, bidder, 0.908 * price AS price, CASE WHEN HOUR(`dateTime`) >= 8 AND HOUR(`dateTime`) <= 18 THEN 'dayTime'
           WHEN HOUR(`dateTime`) <= 6 OR HOUR(`dateTime`) >= 20 THEN 'nightTime' ELSE 'otherTime' END AS bidTimeType, `dateTime`, extra
         FROM bid WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000",
        expect![[r#"
            auction BIGINT
            bidder BIGINT
            price DECIMAL(24, 3)
            bidTimeType STRING NOT NULL
            dateTime TIMESTAMP(3)
            extra STRING
        "#]],
    );
    check(
        "SELECT DATE_FORMAT(`dateTime`, 'yyyy-MM-dd') AS `day`, COUNT(*) AS total_bids, COUNT(*) FILTER (WHERE price < 10000) AS rank1_bids,
           COUNT(DISTINCT bidder) AS total_bidders, COUNT(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders
         FROM bid GROUP BY DATE_FORMAT(`dateTime`, 'yyyy-MM-dd')",
        expect![[r#"
            day STRING
            total_bids BIGINT NOT NULL
            rank1_bids BIGINT NOT NULL
            total_bidders BIGINT NOT NULL
            rank1_bidders BIGINT NOT NULL
        "#]],
    );
    check(
        "SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1, SPLIT_INDEX(url, '/', 4) AS dir2,
           CASE WHEN lower(channel) = 'apple' THEN '0' ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id FROM bid",
        expect![[r#"
            auction BIGINT
            bidder BIGINT
            price BIGINT
            channel STRING
            dir1 STRING
            dir2 STRING
            channel_id STRING
        "#]],
    );
}

#[test]
fn windows() {
    check(
        "SELECT window_start, window_end, SUM(price) AS total_price FROM TABLE(TUMBLE(DATA => TABLE orders, TIMECOL => DESCRIPTOR(order_time), SIZE => INTERVAL '10' MINUTES)) GROUP BY window_start, window_end",
        expect![[r#"
            window_start TIMESTAMP(3) NOT NULL
            window_end TIMESTAMP(3) NOT NULL
            total_price DECIMAL(38, 2)
        "#]],
    );
    check(
        "SELECT window_start, window_end, user_id, SUM(price) AS price FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '10' MINUTES))
         GROUP BY window_start, window_end, GROUPING SETS ((user_id), ())",
        expect![[r#"
            window_start TIMESTAMP(3)
            window_end TIMESTAMP(3)
            user_id BIGINT
            price DECIMAL(38, 2)
        "#]],
    );
    check(
        "WITH w1 AS (SELECT window_start, window_end, window_time AS rowtime, SUM(price) AS partial_price FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '5' MINUTES)) GROUP BY user_id, window_start, window_end, window_time)
         SELECT window_start, window_end, SUM(partial_price) AS total FROM TABLE(TUMBLE(TABLE w1, DESCRIPTOR(rowtime), INTERVAL '10' MINUTES)) GROUP BY window_start, window_end",
        expect![[r#"
            error: column `window_end` is ambiguous: more than one input has it
             --> t.sql:1:34
              |
            1 | WITH w1 AS (SELECT window_start, window_end, window_time AS rowtime, SUM(price) AS partial_price FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVA
              |                                  ^^^^^^^^^^
            hint: rename the inner window's column: SELECT window_end AS inner_window_end, ...
        "#]],
    );
    check(
        "SELECT window_start, window_end, product, SUM(amount) FROM TABLE(SESSION(TABLE orders PARTITION BY product, DESCRIPTOR(order_time), INTERVAL '5' MINUTES)) GROUP BY product, window_start, window_end",
        expect![[r#"
            window_start TIMESTAMP(3) NOT NULL
            window_end TIMESTAMP(3) NOT NULL
            product STRING
            EXPR$3 BIGINT
        "#]],
    );
    check(
        "SELECT * FROM TABLE(CUMULATE(TABLE orders, DESCRIPTOR(proc), INTERVAL '2' MINUTES, INTERVAL '10' MINUTES))",
        expect![[r#"
            user_id BIGINT
            product STRING
            amount INT
            price DECIMAL(10, 2)
            order_time TIMESTAMP(3)
            tags ARRAY<STRING>
            doc STRING
            attributes MAP<STRING NOT NULL, STRING>
            items ARRAY<ROW<`sku` STRING, `n` INT>>
            ltz TIMESTAMP_LTZ(3)
            proc TIMESTAMP_LTZ(3)
            window_start TIMESTAMP(3) NOT NULL
            window_end TIMESTAMP(3) NOT NULL
            window_time TIMESTAMP_LTZ(3) NOT NULL
        "#]],
    );
    check(
        "SELECT user_id, TUMBLE_START(order_time, INTERVAL '1' DAY) AS wStart, TUMBLE_ROWTIME(order_time, INTERVAL '1' DAY) AS t, SUM(amount) FROM orders GROUP BY TUMBLE(order_time, INTERVAL '1' DAY), user_id",
        expect![[r#"
            user_id BIGINT
            wStart TIMESTAMP(3) NOT NULL
            t TIMESTAMP(3) NOT NULL
            EXPR$3 BIGINT
        "#]],
    );
    check(
        "SELECT orders.product, window_time FROM TUMBLE(TABLE orders, DESCRIPTOR(order_time), INTERVAL '1' MONTH)",
        expect![[r#"
            product STRING
            window_time TIMESTAMP(3) NOT NULL
        "#]],
    );
}

#[test]
fn unnest_and_nested() {
    check(
        "SELECT user_id, tag FROM orders CROSS JOIN UNNEST(tags) AS t (tag)",
        expect![[r#"
        user_id BIGINT
        tag STRING
    "#]],
    );
    check(
        "SELECT user_id, t.sku, t.n FROM orders, UNNEST(items) AS t (sku, n) WHERE t.n > 1",
        expect![[r#"
        user_id BIGINT
        sku STRING
        n INT
    "#]],
    );
    check(
        "SELECT o.user_id, k, v FROM orders AS o LEFT JOIN UNNEST(o.attributes) AS t (k, v) ON TRUE",
        expect![[r#"
            user_id BIGINT
            k STRING
            v STRING
        "#]],
    );
    check(
        "SELECT tag, pos FROM orders CROSS JOIN UNNEST(tags) WITH ORDINALITY AS t (tag, pos)",
        expect![[r#"
        tag STRING
        pos INT
    "#]],
    );
    check(
        "SELECT tags[1], attributes['a'], items[1].sku, CARDINALITY(tags), ROW(1, 'a'), ARRAY[1, 2], MAP['a', 1.5] FROM orders",
        expect![[r#"
            EXPR$0 STRING
            EXPR$1 STRING
            sku STRING
            EXPR$3 BIGINT
            EXPR$4 ROW<`EXPR$0` INT, `EXPR$1` STRING>
            EXPR$5 ARRAY<INT>
            EXPR$6 MAP<STRING NOT NULL, DECIMAL(2, 1)>
        "#]],
    );
    check(
        "SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS t (x, y)",
        expect![[r#"
        x INT NOT NULL
        y STRING NOT NULL
    "#]],
    );
    check(
        "SELECT * FROM UNNEST(ARRAY[1, 2, 3]) AS t (x)",
        expect![[r#"
        x BIGINT
    "#]],
    );
}

#[test]
fn expressions() {
    check(
        "SELECT 1, 1.5, 1e3, 'x', TRUE, NULL, DATE '2024-01-31', TIME '10:00:00', TIMESTAMP '2024-01-31 10:00:00.123', INTERVAL '1' DAY, INTERVAL '2' MONTH FROM orders",
        expect![[r#"
            EXPR$0 INT NOT NULL
            EXPR$1 DECIMAL(2, 1) NOT NULL
            EXPR$2 DOUBLE NOT NULL
            EXPR$3 STRING NOT NULL
            EXPR$4 BOOLEAN NOT NULL
            EXPR$5 NULL
            EXPR$6 DATE NOT NULL
            EXPR$7 TIME(3) NOT NULL
            EXPR$8 TIMESTAMP(3) NOT NULL
            EXPR$9 INTERVAL DAY TO SECOND(3) NOT NULL
            EXPR$10 INTERVAL DAY TO SECOND(3) NOT NULL
        "#]],
    );
    check(
        "SELECT CAST(amount AS STRING), CAST('1' AS INT), CAST(product AS VARCHAR(3)), CAST(product AS CHAR(3)), CAST(price AS DECIMAL(5, 1)), TRY_CAST(product AS BIGINT),
           CAST(order_time AS DATE), CAST(order_time AS TIMESTAMP_LTZ(3)), CAST(product AS TIMESTAMP(3)), CAST(ROW(1, 'a') AS ROW<x BIGINT, y STRING>), CAST(product AS BYTES) FROM orders",
        expect![[r#"
            EXPR$0 STRING
            EXPR$1 INT NOT NULL
            EXPR$2 STRING
            EXPR$3 STRING
            EXPR$4 DECIMAL(5, 1)
            EXPR$5 BIGINT
            EXPR$6 DATE
            EXPR$7 TIMESTAMP_LTZ(3)
            EXPR$8 TIMESTAMP(3)
            EXPR$9 ROW<`x` BIGINT, `y` STRING>
            EXPR$10 BYTES
        "#]],
    );
    check(
        "SELECT EXTRACT(YEAR FROM order_time), FLOOR(order_time TO HOUR), CEIL(order_time TO DAY), TIMESTAMPDIFF(DAY, order_time, order_time), TIMESTAMPADD(MONTH, 1, order_time),
           order_time + INTERVAL '1' DAY, order_time - INTERVAL '3' MONTH, CURRENT_TIMESTAMP, CURRENT_DATE, LOCALTIMESTAMP, NOW(), CURRENT_WATERMARK(order_time), ltz + INTERVAL '5' SECOND FROM orders",
        expect![[r#"
            EXPR$0 BIGINT
            EXPR$1 TIMESTAMP(3)
            EXPR$2 TIMESTAMP(3)
            EXPR$3 INT
            EXPR$4 TIMESTAMP(3)
            EXPR$5 TIMESTAMP(3)
            EXPR$6 TIMESTAMP(3)
            EXPR$7 TIMESTAMP_LTZ(3)
            EXPR$8 DATE
            EXPR$9 TIMESTAMP(3)
            EXPR$10 TIMESTAMP_LTZ(3)
            EXPR$11 TIMESTAMP(3)
            EXPR$12 TIMESTAMP_LTZ(3)
        "#]],
    );
    check(
        "SELECT JSON_VALUE(doc, '$.a'), JSON_VALUE(doc, '$.b' RETURNING INT DEFAULT 0 ON EMPTY NULL ON ERROR), JSON_QUERY(doc, '$.c' WITH WRAPPER), JSON_EXISTS(doc, '$.d'),
           doc IS JSON OBJECT, JSON_OBJECT('k' VALUE amount), JSON_ARRAY(1, 'x') FROM orders",
        expect![[r#"
            EXPR$0 STRING
            EXPR$1 INT
            EXPR$2 STRING
            EXPR$3 BOOLEAN
            EXPR$4 BOOLEAN
            EXPR$5 STRING
            EXPR$6 STRING
        "#]],
    );
    check(
        "SELECT TRIM(BOTH 'x' FROM product), TRIM(product), POSITION('a' IN product), OVERLAY(product PLACING 'b' FROM 1 FOR 2), SUBSTRING(product FROM 2 FOR 3), product || '-' || doc,
           UPPER(product), CHAR_LENGTH(product), product LIKE 'a%', product SIMILAR TO 'a.*', IF(amount > 1, 'a', 'b'), IFNULL(product, 'x'), COALESCE(product, 'y'), NULLIF(amount, 0) FROM orders",
        expect![[r#"
            EXPR$0 STRING
            EXPR$1 STRING
            EXPR$2 INT
            EXPR$3 STRING
            EXPR$4 STRING
            EXPR$5 STRING
            EXPR$6 STRING
            EXPR$7 INT
            EXPR$8 BOOLEAN
            EXPR$9 BOOLEAN
            EXPR$10 STRING NOT NULL
            EXPR$11 STRING NOT NULL
            EXPR$12 STRING NOT NULL
            EXPR$13 INT
        "#]],
    );
    check(
        "SELECT amount / 2, amount % 2, price * amount, price / 3, amount + 1, amount * 1.5, ABS(amount), ROUND(price, 1), POWER(amount, 2), product IS DISTINCT FROM doc, amount BETWEEN 1 AND 3 FROM orders",
        expect![[r#"
            EXPR$0 INT
            EXPR$1 INT
            EXPR$2 DECIMAL(21, 2)
            EXPR$3 DECIMAL(14, 6)
            EXPR$4 INT
            EXPR$5 DECIMAL(13, 1)
            EXPR$6 INT
            EXPR$7 DECIMAL(10, 1)
            EXPR$8 DOUBLE
            EXPR$9 BOOLEAN
            EXPR$10 BOOLEAN
        "#]],
    );
    check(
        "SELECT COUNT(*), COUNT(DISTINCT product), SUM(amount), SUM(price), AVG(amount), AVG(price), MIN(product), MAX(order_time), STDDEV_POP(amount), VAR_SAMP(amount), FIRST_VALUE(product), LAST_VALUE(amount), LISTAGG(product, ';') FROM orders",
        expect![[r#"
            EXPR$0 BIGINT NOT NULL
            EXPR$1 BIGINT NOT NULL
            EXPR$2 BIGINT
            EXPR$3 DECIMAL(38, 2)
            EXPR$4 INT
            EXPR$5 DECIMAL(38, 6)
            EXPR$6 STRING
            EXPR$7 TIMESTAMP(3)
            EXPR$8 DOUBLE
            EXPR$9 DOUBLE
            EXPR$10 STRING
            EXPR$11 INT
            EXPR$12 STRING
        "#]],
    );
}
