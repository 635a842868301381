-- EXCEPT ALL over groups that change.
-- changes
-- columns: n BIGINT
-- tidemill
SELECT COUNT(*) FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY quantity EXCEPT ALL SELECT COUNT(*) FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a GROUP BY k
-- duckdb
SELECT COUNT(*) FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY quantity EXCEPT ALL SELECT COUNT(*) FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a GROUP BY k
