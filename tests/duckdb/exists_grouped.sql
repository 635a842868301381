-- EXISTS over groups.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE EXISTS (SELECT b.item FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity = a.k GROUP BY b.item, b.quantity HAVING COUNT(*) > 1)
-- duckdb
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE EXISTS (SELECT b.item FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity = a.k GROUP BY b.item, b.quantity HAVING COUNT(*) > 1)
