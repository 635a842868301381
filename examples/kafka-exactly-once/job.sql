SET 'execution.checkpointing.interval' = '200 ms';

CREATE TABLE orders (id BIGINT, shop STRING, cents BIGINT) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'properties.bootstrap.servers' = 'localhost:29092',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json');

-- Every order once, whatever happens to the job.
CREATE TABLE large_orders (id BIGINT, shop STRING, cents BIGINT) WITH (
  'connector' = 'kafka', 'topic' = 'large-orders', 'properties.bootstrap.servers' = 'localhost:29092', 'format' = 'json');

CREATE TABLE totals (shop STRING, orders BIGINT, cents BIGINT, PRIMARY KEY (shop) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'totals', 'properties.bootstrap.servers' = 'localhost:29092',
  'key.format' = 'json', 'value.format' = 'json');

INSERT INTO large_orders SELECT * FROM orders WHERE cents >= 9000;
INSERT INTO totals SELECT shop, COUNT(*), SUM(cents) FROM orders GROUP BY shop;
