-- Sessions of the whole stream: its lulls separate them.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), n BIGINT, items BIGINT
-- tidemill
SELECT window_start, window_end, COUNT(*), COUNT(DISTINCT item)
FROM TABLE(SESSION(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end
-- duckdb
WITH rows_ AS (SELECT item, ts, lag(ts) OVER (ORDER BY ts) AS before FROM bids),
  numbered AS (SELECT *, SUM(CASE WHEN before IS NULL OR ts - before > INTERVAL 10 SECOND THEN 1 ELSE 0 END)
    OVER (ORDER BY ts ROWS UNBOUNDED PRECEDING) AS session FROM rows_)
SELECT MIN(ts), MAX(ts) + INTERVAL 10 SECOND, COUNT(*), COUNT(DISTINCT item) FROM numbered GROUP BY session
