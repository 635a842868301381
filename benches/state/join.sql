-- Joins KEYS rows of about 270 bytes, which do not compress, with as many of another stream in another order: nearly every
-- row has to wait for its partner, and none of them is ever freed.
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '10 s';
SET 'tidemill.memory.budget' = 'BUDGET';
CREATE TABLE lefts (n BIGINT, pad AS SHA512(CAST(n AS STRING)) || SHA512(CAST(-n AS STRING))) WITH ('connector' = 'datagen',
  'number-of-rows' = 'KEYS', 'rows-per-second' = '1000000000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = 'LAST');
CREATE TABLE rights (n BIGINT, id AS MOD(n * 7919, KEYS), pad AS SHA512(CAST(-n AS STRING)) || SHA512(CAST(n AS STRING))) WITH ('connector' = 'datagen',
  'number-of-rows' = 'KEYS', 'rows-per-second' = '1000000000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = 'LAST');
CREATE TABLE pairs (id BIGINT, n BIGINT, same BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO pairs SELECT l.n, r.n,
    CASE WHEN l.pad = SHA512(CAST(l.n AS STRING)) || SHA512(CAST(-l.n AS STRING)) AND r.pad = SHA512(CAST(-r.n AS STRING)) || SHA512(CAST(r.n AS STRING)) THEN 1 ELSE 0 END
  FROM lefts AS l JOIN rights AS r ON l.n = r.id;
