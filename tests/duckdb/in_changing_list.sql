-- Rows by a list that changes.
-- changes
-- columns: item STRING, n BIGINT
-- tidemill
SELECT item, n FROM (SELECT item, COUNT(*) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item) AS t WHERE n IN (SELECT COUNT(*) + 40 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a GROUP BY k) OR n > (SELECT AVG(CAST(m AS DOUBLE)) FROM (SELECT COUNT(*) AS m FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item) AS s)
-- duckdb
SELECT item, n FROM (SELECT item, COUNT(*) AS n FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item) AS t WHERE n IN (SELECT COUNT(*) + 40 FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a GROUP BY k) OR n > (SELECT AVG(CAST(m AS DOUBLE)) FROM (SELECT COUNT(*) AS m FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b GROUP BY item) AS s)
