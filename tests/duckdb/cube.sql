-- CUBE in sliding windows, with DISTINCT.
-- columns: window_start TIMESTAMP(3), item STRING, active BOOLEAN, n BIGINT, quantities BIGINT
-- tidemill
SELECT window_start, item, active, COUNT(*), COUNT(DISTINCT quantity)
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' MINUTE, INTERVAL '20' MINUTE)) GROUP BY window_start, window_end, CUBE (item, active)
-- duckdb
WITH windowed AS (
  SELECT bucket(ts, 600000) - to_minutes(10 * step) AS s, * FROM bids CROSS JOIN generate_series(0, 1) AS steps (step))
SELECT s, item, active, COUNT(*), COUNT(DISTINCT quantity) FROM windowed GROUP BY s, CUBE (item, active)
