-- The older form GROUP BY HOP(...) with its auxiliary functions.
-- columns: w_start TIMESTAMP(3), w_end TIMESTAMP(3), active BOOLEAN, n BIGINT
-- tidemill
SELECT HOP_START(ts, INTERVAL '2' MINUTE, INTERVAL '4' MINUTE), HOP_END(ts, INTERVAL '2' MINUTE, INTERVAL '4' MINUTE), active, COUNT(*)
FROM bids GROUP BY HOP(ts, INTERVAL '2' MINUTE, INTERVAL '4' MINUTE), active
-- duckdb
SELECT bucket(ts, 120000) - to_minutes(2 * step), bucket(ts, 120000) - to_minutes(2 * step) + INTERVAL 4 MINUTE, active, COUNT(*)
FROM bids CROSS JOIN generate_series(0, 1) AS steps (step) GROUP BY 1, 2, 3
