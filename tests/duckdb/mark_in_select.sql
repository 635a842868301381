-- IN as a value of three kinds.
-- changes
-- columns: id BIGINT, yes BOOLEAN
-- tidemill
SELECT b.id, b.quantity IN (SELECT CASE WHEN k > 1 THEN k END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS yes FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
-- duckdb
SELECT b.id, b.quantity IN (SELECT CASE WHEN k > 1 THEN k END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS yes FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
