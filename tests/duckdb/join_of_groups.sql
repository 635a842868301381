-- A join of two aggregations, one of them outer.
-- changes
-- columns: k BIGINT, n BIGINT, m BIGINT
-- tidemill
SELECT a.k, a.n, b.m FROM (SELECT k, COUNT(*) AS n FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a GROUP BY k) AS a LEFT JOIN (SELECT quantity, COUNT(*) AS m FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY quantity) AS b ON a.k = b.quantity
-- duckdb
SELECT a.k, a.n, b.m FROM (SELECT k, COUNT(*) AS n FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a GROUP BY k) AS a LEFT JOIN (SELECT quantity, COUNT(*) AS m FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY quantity) AS b ON a.k = b.quantity
