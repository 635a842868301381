-- One row per window without a key; HAVING on an aggregate that is not shown.
-- columns: window_time TIMESTAMP(3), n BIGINT, cities BIGINT
-- tidemill
SELECT window_time, COUNT(*), COUNT(DISTINCT b.bidder.address.city)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '30' SECOND)) AS b
GROUP BY window_start, window_end, window_time HAVING SUM(quantity) > 400
-- duckdb
SELECT bucket(ts, 30000) + INTERVAL 29999 MILLISECOND, COUNT(*), COUNT(DISTINCT b.bidder.address.city)
FROM bids AS b GROUP BY 1 HAVING SUM(quantity) > 400
