-- Cumulating windows: every 2 minutes the sums since the begin of the 10 minutes.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), n BIGINT, total DECIMAL(24, 2), bidders BIGINT
-- tidemill
SELECT window_start, window_end, COUNT(*), SUM(price), COUNT(DISTINCT b.bidder.id)
FROM TABLE(CUMULATE(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' MINUTE, INTERVAL '10' MINUTE)) AS b GROUP BY window_start, window_end
-- duckdb
WITH windowed AS (
  SELECT bucket(ts, 600000) AS s, bucket(ts, 600000) + to_minutes(2 * step) AS e, *
  FROM bids CROSS JOIN generate_series(1, 5) AS steps (step))
SELECT s, e, COUNT(*), SUM(price), COUNT(DISTINCT w.bidder.id) FROM windowed AS w WHERE ts < e GROUP BY 1, 2
