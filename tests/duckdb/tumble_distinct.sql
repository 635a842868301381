-- DISTINCT aggregates beside plain ones.
-- columns: window_start TIMESTAMP(3), items BIGINT, bidders BIGINT, quantities BIGINT, mean DOUBLE, n BIGINT
-- tidemill
SELECT window_start, COUNT(DISTINCT item), COUNT(DISTINCT b.bidder.id), SUM(DISTINCT quantity),
  AVG(DISTINCT CAST(quantity AS DOUBLE)), COUNT(*)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '2' MINUTE)) AS b GROUP BY window_start, window_end
-- duckdb
SELECT bucket(ts, 120000), COUNT(DISTINCT item), COUNT(DISTINCT b.bidder.id), SUM(DISTINCT quantity),
  AVG(DISTINCT quantity), COUNT(*)
FROM bids AS b GROUP BY 1
