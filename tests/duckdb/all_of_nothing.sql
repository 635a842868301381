-- All of no values.
-- changes
-- columns: id BIGINT, a BOOLEAN, b BOOLEAN
-- tidemill
SELECT b.id, b.quantity > ALL (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.id < 0) AS a, b.quantity > ANY (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.id < 0) AS b FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
-- duckdb
SELECT b.id, b.quantity > ALL (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.id < 0) AS a, b.quantity > ANY (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.id < 0) AS b FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
