-- One correlated subquery inside another.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE EXISTS (SELECT 1 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS b WHERE b.k = a.k AND b.id > (SELECT MIN(c.id) + 20 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.category = b.category))
-- duckdb
SELECT a.id FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE EXISTS (SELECT 1 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS b WHERE b.k = a.k AND b.id > (SELECT MIN(c.id) + 20 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.category = b.category))
