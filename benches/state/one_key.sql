-- Joins ROWS rows of about 270 bytes, all of one key, with PROBES rows of the same key that come one a second: each of them
-- meets all rows that have come before it.
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '10 s';
SET 'tidemill.memory.budget' = 'BUDGET';
CREATE TABLE lefts (n BIGINT, k AS 1, pad AS SHA512(CAST(n AS STRING)) || SHA512(CAST(-n AS STRING))) WITH ('connector' = 'datagen',
  'number-of-rows' = 'ROWS', 'rows-per-second' = '1000000000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = 'LAST_ROW');
CREATE TABLE rights (n BIGINT, k AS 1) WITH ('connector' = 'datagen', 'number-of-rows' = 'PROBES', 'rows-per-second' = '1',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = 'LAST_PROBE');
CREATE TABLE pairs (l BIGINT, r BIGINT, same BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO pairs SELECT l.n, r.n,
    CASE WHEN l.pad = SHA512(CAST(l.n AS STRING)) || SHA512(CAST(-l.n AS STRING)) THEN 1 ELSE 0 END
  FROM lefts AS l JOIN rights AS r ON l.k = r.k AND MOD(l.n + r.n, 100) = 0;
