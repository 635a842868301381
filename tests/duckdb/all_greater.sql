-- Greater than all of a list, and of one with a NULL.
-- changes
-- columns: id BIGINT, a BOOLEAN, b BOOLEAN
-- tidemill
SELECT b.id, b.quantity > ALL (SELECT k - 5 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS a, b.quantity > ALL (SELECT CASE WHEN k > 4 THEN k - 5 END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS b FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
-- duckdb
SELECT b.id, b.quantity > ALL (SELECT k - 5 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS a, b.quantity > ALL (SELECT CASE WHEN k > 4 THEN k - 5 END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS b FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
