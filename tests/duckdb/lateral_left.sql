-- LEFT JOIN LATERAL keeps rows without.
-- changes
-- columns: id BIGINT, other BIGINT
-- tidemill
SELECT a.id, c.id AS other FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a LEFT JOIN LATERAL (SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity = a.k AND b.id > a.id ORDER BY b.id LIMIT 1) AS c ON TRUE
-- duckdb
SELECT a.id, c.id AS other FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a LEFT JOIN LATERAL (SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity = a.k AND b.id > a.id ORDER BY b.id LIMIT 1) AS c ON TRUE
