-- Groups that pass a condition for a while only.
-- changes
-- columns: item STRING, n BIGINT, total DECIMAL(38, 2)
-- tidemill
SELECT item, COUNT(*), SUM(price) FROM bids GROUP BY item, id % 31 HAVING COUNT(*) < 20 OR SUM(price) > 9000
-- duckdb
SELECT item, COUNT(*), SUM(price) FROM bids GROUP BY item, id % 31 HAVING COUNT(*) < 20 OR SUM(price) > 9000
