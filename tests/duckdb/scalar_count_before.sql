-- How many rows came before.
-- changes
-- columns: id BIGINT, n BIGINT
-- tidemill
SELECT b.id, (SELECT COUNT(*) FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS c WHERE c.item = b.item AND c.id < b.id) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
-- duckdb
SELECT b.id, (SELECT COUNT(*) FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS c WHERE c.item = b.item AND c.id < b.id) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b
