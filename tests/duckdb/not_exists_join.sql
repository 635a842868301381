-- NOT EXISTS over a join.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE NOT EXISTS (SELECT 1 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c JOIN (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b ON c.id = b.id AND b.quantity > 8 WHERE c.k = a.k AND c.id > a.id + 20)
-- duckdb
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE NOT EXISTS (SELECT 1 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c JOIN (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b ON c.id = b.id AND b.quantity > 8 WHERE c.k = a.k AND c.id > a.id + 20)
