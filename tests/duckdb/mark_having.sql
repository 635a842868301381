-- IN below OR in HAVING.
-- changes
-- columns: item STRING, n BIGINT
-- tidemill
SELECT item, COUNT(*) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item HAVING COUNT(*) > 30 OR MAX(quantity) IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
-- duckdb
SELECT item, COUNT(*) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item HAVING COUNT(*) > 30 OR MAX(quantity) IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a)
