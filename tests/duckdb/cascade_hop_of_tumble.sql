-- A sliding window over the sums of a tumbling one.
-- columns: window_end TIMESTAMP(3), total DECIMAL(30, 2), parts BIGINT
-- tidemill
CREATE VIEW halves AS SELECT window_time AS at_half, SUM(price) AS total
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '30' SECOND)) GROUP BY window_start, window_end, window_time;
SELECT window_end, SUM(total), COUNT(*)
FROM TABLE(HOP(TABLE halves, DESCRIPTOR(at_half), INTERVAL '2' MINUTE, INTERVAL '6' MINUTE)) GROUP BY window_start, window_end
-- duckdb
WITH halves AS (SELECT bucket(ts, 30000) AS h, SUM(price) AS total FROM bids GROUP BY 1)
SELECT bucket(h, 120000) - to_minutes(2 * step) + INTERVAL 6 MINUTE, SUM(total), COUNT(*)
FROM halves CROSS JOIN generate_series(0, 2) AS steps (step) GROUP BY 1
