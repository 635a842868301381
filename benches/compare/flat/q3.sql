-- Local items, over files of their own for persons and auctions, which clink reads: FOLDER/events-N/flat, made by the comparison with clink.
-- Run as: sed "s#FOLDER#$folder/events-3000000/flat#" benches/compare/flat/q3.sql > job.sql && tidemill run job.sql -p 2
SET 'table.local-time-zone' = 'UTC';
SET 'execution.checkpointing.interval' = '1 s';
CREATE TABLE person (
  id BIGINT, name STRING, city STRING, state STRING
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/person.json', 'format' = 'json');
CREATE TABLE auction (
  id BIGINT, seller BIGINT, category BIGINT
) WITH ('connector' = 'filesystem', 'path' = 'FOLDER/auction.json', 'format' = 'json');
CREATE TABLE result (name STRING, city STRING, state STRING, id BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO result
SELECT p.name, p.city, p.state, a.id
FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
