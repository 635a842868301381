-- ROLLUP in windows.
-- columns: window_start TIMESTAMP(3), item STRING, active BOOLEAN, n BIGINT, mean DOUBLE
-- tidemill
SELECT window_start, item, active, COUNT(*), AVG(score)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' MINUTE)) GROUP BY window_start, window_end, ROLLUP (item, active)
-- duckdb
SELECT bucket(ts, 600000), item, active, COUNT(*), AVG(score) FROM bids GROUP BY bucket(ts, 600000), ROLLUP (item, active)
