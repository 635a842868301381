-- A CTE over a CTE, a subquery in FROM, names in scope.
-- columns: name STRING, total DECIMAL(24, 2), id BIGINT
-- tidemill
WITH named AS (SELECT id, b.bidder.name AS name, price * quantity AS total FROM bids AS b),
  dear AS (SELECT * FROM named WHERE total > 20000)
SELECT name, total, id FROM (SELECT name, total, id FROM dear WHERE name IS NOT NULL) AS d WHERE MOD(id, 2) = 0
-- duckdb
WITH named AS (SELECT id, b.bidder.name AS name, price * quantity AS total FROM bids AS b),
  dear AS (SELECT * FROM named WHERE total > 20000)
SELECT name, total, id FROM (SELECT name, total, id FROM dear WHERE name IS NOT NULL) AS d WHERE id % 2 = 0
