-- A window over a filtered and projected query, filtered again behind it.
-- columns: window_end TIMESTAMP(3), city STRING, total BIGINT
-- tidemill
CREATE VIEW known AS SELECT b.bidder.address.city AS city, quantity, ts FROM bids AS b WHERE quantity > 0;
SELECT window_end, city, total FROM (
  SELECT window_end, city, SUM(quantity) AS total
  FROM TABLE(TUMBLE(TABLE known, DESCRIPTOR(ts), INTERVAL '3' MINUTE)) GROUP BY window_start, window_end, city) AS w
WHERE total > 300 AND city IS NOT NULL
-- duckdb
SELECT bucket(ts, 180000) + INTERVAL 3 MINUTE, b.bidder.address.city, SUM(quantity) FROM bids AS b
WHERE quantity > 0 AND b.bidder.address.city IS NOT NULL GROUP BY 1, 2 HAVING SUM(quantity) > 300
