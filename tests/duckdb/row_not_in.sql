-- Rows that are known to be out of a list.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE (b.quantity, b.item) NOT IN (SELECT a.k, CASE WHEN a.k > 6 THEN a.category END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
-- duckdb
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE (b.quantity, b.item) NOT IN (SELECT a.k, CASE WHEN a.k > 6 THEN a.category END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
