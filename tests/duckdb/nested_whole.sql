-- Rows and arrays pass through whole.
-- columns: id BIGINT, bidder ROW<id BIGINT, name STRING, address ROW<city STRING, zip STRING>>, tags ARRAY<STRING>, `lines` ARRAY<ROW<sku STRING, units INT>>
-- tidemill
SELECT id, bidder, tags, `lines` FROM bids WHERE MOD(id, 7) = 0
-- duckdb
SELECT id, bidder, tags, lines FROM bids WHERE id % 7 = 0
