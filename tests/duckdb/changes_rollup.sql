-- Grouping sets without a window.
-- changes
-- columns: item STRING, active BOOLEAN, n BIGINT, low DECIMAL(12, 2), high DECIMAL(12, 2)
-- tidemill
SELECT item, active, COUNT(*), MIN(price), MAX(price) FROM bids GROUP BY ROLLUP (item, active)
-- duckdb
SELECT item, active, COUNT(*), MIN(price), MAX(price) FROM bids GROUP BY ROLLUP (item, active)
