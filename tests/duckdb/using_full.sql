-- FULL JOIN USING.
-- changes
-- columns: id BIGINT, item STRING, category STRING
-- tidemill
SELECT id, item, category FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b FULL JOIN (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a USING (id)
-- duckdb
SELECT id, item, category FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b FULL JOIN (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a USING (id)
