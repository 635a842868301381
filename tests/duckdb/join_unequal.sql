-- No equality at all.
-- columns: one BIGINT, other BIGINT
-- tidemill
SELECT a.id, b.id FROM (SELECT * FROM auctions WHERE id < 400) AS a JOIN (SELECT * FROM auctions WHERE id > 3100) AS b ON a.rating > b.rating + 50
-- duckdb
SELECT a.id, b.id FROM (SELECT * FROM auctions WHERE id < 400) AS a JOIN (SELECT * FROM auctions WHERE id > 3100) AS b ON a.rating > b.rating + 50
