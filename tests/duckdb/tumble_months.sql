-- Windows of a calendar month.
-- columns: window_start TIMESTAMP(3), window_end TIMESTAMP(3), category STRING, n BIGINT, mean DOUBLE
-- tidemill
SELECT window_start, window_end, category, COUNT(*), AVG(rating)
FROM TABLE(TUMBLE(TABLE auctions, DESCRIPTOR(opened), INTERVAL '1' MONTH)) GROUP BY window_start, window_end, category
-- duckdb
SELECT date_trunc('month', opened)::TIMESTAMP, date_trunc('month', opened)::TIMESTAMP + INTERVAL 1 MONTH, category, COUNT(*),
  AVG(rating)
FROM auctions GROUP BY 1, 2, 3
