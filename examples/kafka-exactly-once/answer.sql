-- What a reader of committed rows sees.
CREATE TABLE totals (shop STRING, orders BIGINT, cents BIGINT, PRIMARY KEY (shop) NOT ENFORCED) WITH (
  'connector' = 'upsert-kafka', 'topic' = 'totals', 'properties.bootstrap.servers' = 'localhost:29092',
  'scan.bounded.mode' = 'latest-offset', 'key.format' = 'json', 'value.format' = 'json');

CREATE TABLE large_orders (id BIGINT, shop STRING, cents BIGINT) WITH (
  'connector' = 'kafka', 'topic' = 'large-orders', 'properties.bootstrap.servers' = 'localhost:29092',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset', 'format' = 'json');

CREATE TABLE answer (what STRING, rows_ BIGINT, ids BIGINT, cents BIGINT, PRIMARY KEY (what) NOT ENFORCED) WITH (
  'connector' = 'filesystem', 'path' = 'out', 'format' = 'csv', 'sink.changelog' = 'snapshot');

INSERT INTO answer
SELECT shop, orders, orders, cents FROM totals
UNION ALL SELECT 'large orders', COUNT(*), COUNT(DISTINCT id), SUM(cents) FROM large_orders;
