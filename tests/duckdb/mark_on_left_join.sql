-- A subquery in ON of an outer join.
-- changes
-- columns: id BIGINT, k BIGINT
-- tidemill
SELECT b.id, a.k FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b LEFT JOIN (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a ON b.id = a.id AND b.quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c)
-- duckdb
SELECT b.id, a.k FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b LEFT JOIN (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a ON b.id = a.id AND b.quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS c)
