-- EXISTS in CASE, grouped.
-- changes
-- columns: what STRING, n BIGINT
-- tidemill
SELECT what, COUNT(*) AS n FROM (SELECT CASE WHEN EXISTS (SELECT 1 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.k = b.quantity AND a.id > 40) THEN 'sold' WHEN b.quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) THEN 'known' ELSE 'new' END AS what FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b) AS t GROUP BY what
-- duckdb
SELECT what, COUNT(*) AS n FROM (SELECT CASE WHEN EXISTS (SELECT 1 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.k = b.quantity AND a.id > 40) THEN 'sold' WHEN b.quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) THEN 'known' ELSE 'new' END AS what FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b) AS t GROUP BY what
