-- Tumbling windows per key with the common aggregates; NULLs are no values.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), item STRING, n BIGINT, priced BIGINT, total DECIMAL(24, 2), mean DOUBLE, lowest DOUBLE, highest DECIMAL(12, 2)
-- tidemill
SELECT window_start, window_end, item, COUNT(*), COUNT(price), SUM(price), AVG(score), MIN(score), MAX(price)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end, item
-- duckdb
SELECT bucket(ts, 60000), bucket(ts, 60000) + INTERVAL 1 MINUTE, item, COUNT(*), COUNT(price), SUM(price), AVG(score),
  MIN(score), MAX(price)
FROM bids GROUP BY 1, 2, 3
