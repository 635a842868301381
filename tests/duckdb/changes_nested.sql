-- How many groups have how many rows: each row moves a group from one count to the next.
-- changes
-- columns: n BIGINT, many BIGINT
-- tidemill
SELECT n, COUNT(*) FROM (SELECT item, quantity, COUNT(*) AS n FROM bids GROUP BY item, quantity) AS g GROUP BY n
-- duckdb
SELECT n, COUNT(*) FROM (SELECT item, quantity, COUNT(*) AS n FROM bids GROUP BY item, quantity) AS g GROUP BY n
