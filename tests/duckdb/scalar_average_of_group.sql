-- More than the average of the same kind.
-- changes
-- columns: id BIGINT
-- tidemill
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.price > (SELECT MIN(c.price) + 20 FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS c WHERE c.item = b.item)
-- duckdb
SELECT b.id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE b.price > (SELECT MIN(c.price) + 20 FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS c WHERE c.item = b.item)
