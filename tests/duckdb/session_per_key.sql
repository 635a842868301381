-- Sessions per bidder, ended by 45 seconds without a bid.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), bidder BIGINT, n BIGINT, total DECIMAL(24, 2)
-- tidemill
CREATE VIEW by_bidder AS SELECT b.bidder.id AS bidder_id, price, ts FROM bids AS b;
SELECT window_start, window_end, bidder_id, COUNT(*), SUM(price)
FROM TABLE(SESSION(TABLE by_bidder PARTITION BY bidder_id, DESCRIPTOR(ts), INTERVAL '45' SECOND))
GROUP BY window_start, window_end, bidder_id
-- duckdb
WITH rows_ AS (SELECT b.bidder.id AS k, price, ts, lag(ts) OVER (PARTITION BY b.bidder.id ORDER BY ts) AS before FROM bids AS b),
  numbered AS (SELECT *, SUM(CASE WHEN before IS NULL OR ts - before > INTERVAL 45 SECOND THEN 1 ELSE 0 END)
    OVER (PARTITION BY k ORDER BY ts ROWS UNBOUNDED PRECEDING) AS session FROM rows_)
SELECT MIN(ts), MAX(ts) + INTERVAL 45 SECOND, k, COUNT(*), SUM(price) FROM numbered GROUP BY k, session
