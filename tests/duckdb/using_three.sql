-- FULL JOIN USING over three tables.
-- changes
-- columns: id BIGINT, a STRING, n BIGINT
-- tidemill
SELECT id, a.category, c.n FROM (SELECT id, category FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE k < 4) AS a FULL JOIN (SELECT id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE quantity > 5) AS b USING (id) RIGHT JOIN (SELECT id, k AS n FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS c USING (id)
-- duckdb
SELECT id, a.category, c.n FROM (SELECT id, category FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a WHERE k < 4) AS a FULL JOIN (SELECT id FROM (SELECT id, item, quantity, price FROM bids WHERE id < 300) AS b WHERE quantity > 5) AS b USING (id) RIGHT JOIN (SELECT id, k AS n FROM (SELECT id, category, CAST(id % 9 AS INT) AS k FROM auctions WHERE id < 60) AS a) AS c USING (id)
