-- The three dearest bids of each item and ten seconds.
-- columns: window_start TIMESTAMP(3), item STRING, id BIGINT, n BIGINT
-- tidemill
SELECT window_start, item, id, n FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, item ORDER BY price DESC, id) AS n
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND))) WHERE n <= 3
-- duckdb
SELECT s, item, id, n FROM (
  SELECT *, bucket(ts, 10000) AS s, ROW_NUMBER() OVER (PARTITION BY bucket(ts, 10000), item ORDER BY price DESC NULLS LAST, id) AS n FROM bids)
WHERE n <= 3
