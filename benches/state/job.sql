-- Counts and sums of KEYS keys of 250 bytes in one window: about 2 GB of state that must wait for the end. Each key comes
-- twice, far apart, so that the second half of the input meets state that has left memory.
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '10 s';
SET 'tidemill.memory.budget' = 'BUDGET';

CREATE TABLE numbers (
  id   BIGINT,
  `time` AS TO_TIMESTAMP_LTZ(1704067200000 + id / 10000, 3),
  WATERMARK FOR `time` AS `time`
) WITH (
  'connector'       = 'datagen',
  'rows-per-second' = '100000000',
  'number-of-rows'  = 'ROWS',
  'fields.id.kind'  = 'sequence',
  'fields.id.start' = '0',
  'fields.id.end'   = 'LAST'
);

CREATE TABLE result (number BIGINT, events BIGINT, total BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');

INSERT INTO result
SELECT CAST(SUBSTRING(key FROM 244) AS BIGINT), COUNT(*), SUM(id)
FROM TABLE(TUMBLE(TABLE (SELECT id, `time`, LPAD(CAST(MOD(id, KEYS) AS STRING), 250, '0') AS key FROM numbers),
                  DESCRIPTOR(`time`), INTERVAL '1' HOUR))
GROUP BY window_start, window_end, key;
