-- Aggregates of each row's own rows.
-- changes
-- columns: id BIGINT, n BIGINT, most DECIMAL(12, 2)
-- tidemill
SELECT a.id, c.n, c.most FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a CROSS JOIN LATERAL (SELECT COUNT(*) AS n, MAX(price) AS most FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity = a.k) AS c
-- duckdb
SELECT a.id, c.n, c.most FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a CROSS JOIN LATERAL (SELECT COUNT(*) AS n, MAX(price) AS most FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity = a.k) AS c
