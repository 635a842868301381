-- An aggregate of what compares otherwise.
-- changes
-- columns: id BIGINT, most BIGINT, n BIGINT
-- tidemill
SELECT a.id, (SELECT MAX(c.id) FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.k < a.k) AS most, (SELECT COUNT(*) FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.k < a.k) AS n FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a
-- duckdb
SELECT a.id, (SELECT MAX(c.id) FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.k < a.k) AS most, (SELECT COUNT(*) FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c WHERE c.k < a.k) AS n FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a
