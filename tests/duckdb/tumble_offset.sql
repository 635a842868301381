-- Tumbling windows moved by an offset.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), n BIGINT
-- tidemill
SELECT window_start, window_end, COUNT(*)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' MINUTE, INTERVAL '3' MINUTE)) GROUP BY window_start, window_end
-- duckdb
SELECT bucket(ts - INTERVAL 3 MINUTE, 600000) + INTERVAL 3 MINUTE, bucket(ts - INTERVAL 3 MINUTE, 600000) + INTERVAL 13 MINUTE,
  COUNT(*)
FROM bids GROUP BY 1, 2
