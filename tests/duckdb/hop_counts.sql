-- Sliding windows per key: each row is in five of them.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), item STRING, n BIGINT, total DECIMAL(24, 2), mean DOUBLE
-- tidemill
SELECT window_start, window_end, item, COUNT(*), SUM(price), AVG(score)
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, item
-- duckdb
SELECT bucket(ts, 60000) - to_minutes(step), bucket(ts, 60000) - to_minutes(step) + INTERVAL 5 MINUTE, item, COUNT(*),
  SUM(price), AVG(score)
FROM bids CROSS JOIN generate_series(0, 4) AS steps (step) GROUP BY 1, 2, 3
