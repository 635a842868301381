-- A subquery inside an aggregate.
-- changes
-- columns: item STRING, n BIGINT
-- tidemill
SELECT item, SUM(CASE WHEN quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) THEN 1 ELSE 0 END) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item
-- duckdb
SELECT item, SUM(CASE WHEN quantity IN (SELECT k FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) THEN 1 ELSE 0 END) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item
