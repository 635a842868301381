-- NATURAL FULL JOIN over two common columns.
-- changes
-- columns: id BIGINT, item STRING, k BIGINT
-- tidemill
SELECT id, item, k FROM (SELECT id, item FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b) AS b NATURAL FULL JOIN (SELECT id, category AS item, k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS a
-- duckdb
SELECT id, item, k FROM (SELECT id, item FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b) AS b NATURAL FULL JOIN (SELECT id, category AS item, k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS a
