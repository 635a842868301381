-- Rows in a list of rows.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE (b.id, b.quantity) IN (SELECT a.id, a.k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
-- duckdb
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE (b.id, b.quantity) IN (SELECT a.id, a.k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
