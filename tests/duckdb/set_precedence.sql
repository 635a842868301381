-- INTERSECT binds closer than UNION and EXCEPT.
-- changes
-- columns: k BIGINT
-- tidemill
SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a UNION SELECT quantity FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE quantity > 20 INTERSECT SELECT quantity FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b EXCEPT SELECT 3
-- duckdb
SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a UNION SELECT quantity FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE quantity > 20 INTERSECT SELECT quantity FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b EXCEPT SELECT 3
