-- INTERSECT of two columns of different types.
-- columns: n BIGINT
-- tidemill
SELECT quantity FROM bids INTERSECT SELECT id FROM auctions
-- duckdb
SELECT quantity FROM bids INTERSECT SELECT id FROM auctions
