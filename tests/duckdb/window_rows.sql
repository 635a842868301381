-- A window table function without an aggregate: the rows with their windows.
-- columns: id BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3), window_time TIMESTAMP(3)
-- tidemill
SELECT id, window_start, window_end, window_time
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE, INTERVAL '2' MINUTE)) WHERE quantity > 35
-- duckdb
WITH windowed AS (SELECT id, bucket(ts, 60000) - to_minutes(step) AS s FROM bids CROSS JOIN generate_series(0, 1) AS steps (step)
  WHERE quantity > 35)
SELECT id, s, s + INTERVAL 2 MINUTE, s + INTERVAL 119999 MILLISECOND FROM windowed
