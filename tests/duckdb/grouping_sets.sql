-- GROUPING SETS in windows; NULL keys are told from absent ones by GROUPING.
-- columns: window_start TIMESTAMP(3), category STRING, seller STRING, n BIGINT, total DECIMAL(20, 3), level BIGINT
-- tidemill
SELECT window_start, category, seller, COUNT(*), SUM(reserve), GROUPING(category)
FROM TABLE(TUMBLE(TABLE auctions, DESCRIPTOR(opened), INTERVAL '30' DAY))
GROUP BY window_start, window_end, GROUPING SETS ((category), (seller), ())
-- duckdb
SELECT bucket(opened, 2592000000), category, seller, COUNT(*), SUM(reserve), GROUPING(category)
FROM auctions GROUP BY bucket(opened, 2592000000), GROUPING SETS ((category), (seller), ())
