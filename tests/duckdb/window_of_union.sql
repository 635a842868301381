-- A window over the union of two files with times of their own.
-- columns: window_start TIMESTAMP(3), origin STRING, n BIGINT, total DECIMAL(30, 2)
-- tidemill
CREATE VIEW united AS SELECT 'bid' AS origin, price AS amount, ts FROM bids UNION ALL
  SELECT 'trade' AS origin, amount, at_ms AS ts FROM trades;
SELECT window_start, origin, COUNT(*), SUM(amount)
FROM TABLE(TUMBLE(TABLE united, DESCRIPTOR(ts), INTERVAL '4' MINUTE)) GROUP BY window_start, window_end, origin
-- duckdb
WITH united AS (SELECT 'bid' AS origin, price AS amount, ts FROM bids UNION ALL SELECT 'trade', amount, traded FROM trades)
SELECT bucket(ts, 240000), origin, COUNT(*), SUM(amount) FROM united GROUP BY 1, 2
