-- The first row of a kind.
-- changes
-- columns: id BIGINT, best STRING
-- tidemill
SELECT a.id, (SELECT c.category FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.k = a.k ORDER BY c.id DESC LIMIT 1) AS best FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a
-- duckdb
SELECT a.id, (SELECT c.category FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.k = a.k ORDER BY c.id DESC LIMIT 1) AS best FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a
