-- Whether a row is in a list of rows, as a value.
-- changes
-- columns: id BIGINT, yes BOOLEAN
-- tidemill
SELECT b.id, (b.quantity, b.item) IN (SELECT a.k, CASE WHEN a.k > 3 THEN a.category END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS yes FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
-- duckdb
SELECT b.id, (b.quantity, b.item) IN (SELECT a.k, CASE WHEN a.k > 3 THEN a.category END FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS yes FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
