-- IN below OR, over a list with NULLs.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.id < 20 OR b.quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
-- duckdb
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.id < 20 OR b.quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
