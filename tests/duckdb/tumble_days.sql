-- Windows of a day over a CSV file across a leap day.
-- columns: window_start TIMESTAMP(3), n BIGINT, total DECIMAL(20, 3)
-- tidemill
SELECT window_start, COUNT(*), SUM(reserve)
FROM TABLE(TUMBLE(TABLE auctions, DESCRIPTOR(opened), INTERVAL '1' DAY)) GROUP BY window_start, window_end
-- duckdb
SELECT date_trunc('day', opened)::TIMESTAMP, COUNT(*), SUM(reserve) FROM auctions GROUP BY 1
