-- Different from all.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity <> ALL (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.k > 3)
-- duckdb
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.quantity <> ALL (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE a.k > 3)
