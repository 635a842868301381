-- New users, over files of their own for persons and auctions, which clink reads: FOLDER/events-N/flat, made by the comparison with clink.
-- Run as: sed "s#FOLDER#$folder/events-3000000/flat#" benches/compare/flat/q8.sql > job.sql && tidemill run job.sql -p 2
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '1 s';
CREATE TABLE person (
  id BIGINT, name STRING,
  datetime BIGINT, ts AS TO_TIMESTAMP_LTZ(datetime, 3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/person.json', 'format' = 'json');
CREATE TABLE auction (
  seller BIGINT,
  datetime BIGINT, ts AS TO_TIMESTAMP_LTZ(datetime, 3), WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/auction.json', 'format' = 'json');
CREATE TABLE result (id BIGINT, name STRING, since TIMESTAMP(3)) WITH ('connector' = 'blackhole');
INSERT INTO result
SELECT p.id, p.name, p.window_start
FROM (
  SELECT id, name, window_start, window_end
  FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(ts), INTERVAL '10' SECOND))
  GROUP BY id, name, window_start, window_end
) AS p
JOIN (
  SELECT seller, window_start, window_end
  FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(ts), INTERVAL '10' SECOND))
  GROUP BY seller, window_start, window_end
) AS a
ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end;
