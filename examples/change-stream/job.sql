-- Changes of a table of orders, as Debezium tells them, are a table again: orders and amounts per shop and status,
-- right after every update and delete, in a file that always holds the whole answer.

CREATE TABLE orders (
  id     BIGINT,
  shop   STRING,
  status STRING,
  amount DECIMAL(10, 2)
) WITH ('connector' = 'filesystem', 'path' = 'orders.json', 'format' = 'debezium-json');

CREATE TABLE open_orders (
  shop    STRING,
  status  STRING,
  orders  BIGINT,
  amount  DECIMAL(38, 2),
  largest DECIMAL(10, 2),
  PRIMARY KEY (shop, status) NOT ENFORCED
) WITH ('connector' = 'filesystem', 'path' = 'out/open_orders', 'format' = 'csv', 'sink.changelog' = 'snapshot');

INSERT INTO open_orders
SELECT shop, status, COUNT(*), SUM(amount), MAX(amount) FROM orders GROUP BY shop, status;
