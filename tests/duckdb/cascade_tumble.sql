-- Windows over windows: the busiest minute and the mean of the minutes, per quarter of an hour.
-- columns: window_start TIMESTAMP(3), item STRING, busiest BIGINT, mean DOUBLE, minutes BIGINT
-- tidemill
CREATE VIEW minutes AS SELECT window_time AS at_minute, item, COUNT(*) AS n
  FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, window_time, item;
SELECT window_start, item, MAX(n), AVG(CAST(n AS DOUBLE)), COUNT(*)
FROM TABLE(TUMBLE(TABLE minutes, DESCRIPTOR(at_minute), INTERVAL '15' MINUTE)) GROUP BY window_start, window_end, item
-- duckdb
WITH minutes AS (SELECT bucket(ts, 60000) AS m, item, COUNT(*) AS n FROM bids GROUP BY 1, 2)
SELECT bucket(m, 900000), item, MAX(n), AVG(n), COUNT(*) FROM minutes GROUP BY 1, 2
