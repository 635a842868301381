-- NOT IN as a value: unknown where the list has a NULL.
-- changes
-- columns: id BIGINT, nope BOOLEAN
-- tidemill
SELECT b.id, b.quantity NOT IN (SELECT CASE WHEN k > 1 THEN k END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS nope FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
-- duckdb
SELECT b.id, b.quantity NOT IN (SELECT CASE WHEN k > 1 THEN k END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS nope FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
