-- The first rows of each kind, by LATERAL.
-- changes
-- columns: category STRING, id BIGINT
-- tidemill
SELECT t.category, c.id FROM (SELECT DISTINCT category FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS t CROSS JOIN LATERAL (SELECT id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.category = t.category ORDER BY id DESC LIMIT 2) AS c
-- duckdb
SELECT t.category, c.id FROM (SELECT DISTINCT category FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS t CROSS JOIN LATERAL (SELECT id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.category = t.category ORDER BY id DESC LIMIT 2) AS c
