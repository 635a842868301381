-- NULL that fits NULL, in one of two keys.
-- columns: one BIGINT, other BIGINT
-- tidemill
SELECT a.id, b.id FROM auctions AS a JOIN auctions AS b ON a.category IS NOT DISTINCT FROM b.category AND a.rating = b.rating AND a.id <> b.id
-- duckdb
SELECT a.id, b.id FROM auctions AS a JOIN auctions AS b ON a.category IS NOT DISTINCT FROM b.category AND a.rating = b.rating AND a.id <> b.id
