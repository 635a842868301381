-- Consume, parse, filter, count per key in a tumbling window, write back exactly once.
SET 'execution.checkpointing.interval' = '1 s';
CREATE TABLE counts (
  customer INT, window_end TIMESTAMP(3), orders BIGINT, total BIGINT
) WITH (
  'connector' = 'kafka', 'topic' = 'COUNTS', 'properties.bootstrap.servers' = 'BROKERS',
  'key.format' = 'json', 'key.fields' = 'customer', 'value.format' = 'json'
);
INSERT INTO counts
SELECT customer, window_end, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(sent), INTERVAL '10' SECOND))
WHERE amount > 100
GROUP BY customer, window_start, window_end;
