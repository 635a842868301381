-- Each order as it comes, written exactly once, with the time at which it was sent.
SET 'execution.checkpointing.interval' = '1 s';
CREATE TABLE passed (
  id BIGINT, amount INT, written TIMESTAMP_LTZ(3) METADATA FROM 'timestamp'
) WITH (
  'connector' = 'kafka', 'topic' = 'PASSED', 'properties.bootstrap.servers' = 'BROKERS', 'format' = 'json'
);
INSERT INTO passed SELECT id, amount, written FROM orders WHERE amount > 100;
