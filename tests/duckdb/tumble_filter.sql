-- FILTER on some aggregates, also with DISTINCT.
-- columns: window_start TIMESTAMP(3), item STRING, n BIGINT, active BIGINT, dear DECIMAL(24, 2), tags BIGINT, none BIGINT
-- tidemill
SELECT window_start, item, COUNT(*), COUNT(*) FILTER (WHERE active), SUM(price) FILTER (WHERE price > 900),
  COUNT(DISTINCT tags[1]) FILTER (WHERE quantity > 10), SUM(quantity) FILTER (WHERE quantity > 1000)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, item
-- duckdb
SELECT bucket(ts, 300000), item, COUNT(*), COUNT(*) FILTER (WHERE active), SUM(price) FILTER (WHERE price > 900),
  COUNT(DISTINCT tags[1]) FILTER (WHERE quantity > 10), SUM(quantity) FILTER (WHERE quantity > 1000)
FROM bids GROUP BY 1, 2
