-- Sliding windows whose size is no multiple of the slide.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), n BIGINT, spread DOUBLE, items BIGINT
-- tidemill
SELECT window_start, window_end, COUNT(*), STDDEV_POP(score), COUNT(DISTINCT item)
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '40' SECOND, INTERVAL '100' SECOND)) GROUP BY window_start, window_end
-- duckdb
WITH windowed AS (
  SELECT bucket(ts, 40000) - to_seconds(40 * step) AS s, * FROM bids CROSS JOIN generate_series(0, 2) AS steps (step))
SELECT s, s + INTERVAL 100 SECOND, COUNT(*), stddev_pop(score), COUNT(DISTINCT item) FROM windowed
WHERE ts < s + INTERVAL 100 SECOND GROUP BY 1, 2
