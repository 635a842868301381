-- EXISTS over a UNION that reads the row.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE EXISTS (SELECT 1 FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.id = a.id AND b.quantity > 5 UNION ALL SELECT 2 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.id = a.id + 3 AND c.k = 4)
-- duckdb
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE EXISTS (SELECT 1 FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.id = a.id AND b.quantity > 5 UNION ALL SELECT 2 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.id = a.id + 3 AND c.k = 4)
