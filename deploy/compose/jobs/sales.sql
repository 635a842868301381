-- What each shop sold in every ten seconds; each result once, whatever is killed.
SET 'execution.checkpointing.interval' = '2 s';

CREATE TABLE orders (
  id BIGINT, shop STRING, cents BIGINT, at TIMESTAMP_LTZ(3),
  WATERMARK FOR at AS at - INTERVAL '1' SECOND
) WITH ('connector' = 'kafka', 'topic' = 'orders', 'properties.bootstrap.servers' = 'kafka:9092',
        'scan.startup.mode' = 'earliest-offset', 'format' = 'json');

CREATE TABLE sales (window_start TIMESTAMP_LTZ(3), shop STRING, orders BIGINT, cents BIGINT) WITH (
  'connector' = 'kafka', 'topic' = 'sales', 'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json');

INSERT INTO sales
SELECT window_start, shop, COUNT(*), SUM(cents)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(at), INTERVAL '10' SECOND))
GROUP BY window_start, window_end, shop;
