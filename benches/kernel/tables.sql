SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '1 s';

CREATE TABLE bids (
  auction  INT,
  bidder   INT,
  price    INT,
  channel  STRING,
  dateTime TIMESTAMP(3),
  WATERMARK FOR dateTime AS dateTime - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids.json', 'format' = 'json');
