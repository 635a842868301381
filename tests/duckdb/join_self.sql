-- A table with itself, where many rows have one key.
-- columns: one BIGINT, other BIGINT
-- tidemill
SELECT a.id, b.id FROM auctions AS a JOIN auctions AS b ON a.seller = b.seller AND a.id < b.id AND b.reserve < a.reserve / 20
-- duckdb
SELECT a.id, b.id FROM auctions AS a JOIN auctions AS b ON a.seller = b.seller AND a.id < b.id AND b.reserve < a.reserve / 20
