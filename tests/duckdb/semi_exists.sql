-- EXISTS with an equality and a comparison.
-- columns: id BIGINT, seller STRING
-- tidemill
SELECT id, seller FROM auctions AS a WHERE EXISTS (SELECT 1 FROM bids AS b WHERE b.id = a.id * 2 AND b.price > a.reserve)
-- duckdb
SELECT id, seller FROM auctions AS a WHERE EXISTS (SELECT 1 FROM bids AS b WHERE b.id = a.id * 2 AND b.price > a.reserve)
