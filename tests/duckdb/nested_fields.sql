-- Fields of rows in rows, NULL where the row is NULL.
-- columns: id BIGINT, bidder_id BIGINT, name STRING, city STRING, zip STRING
-- tidemill
SELECT id, b.bidder.id, b.bidder.name, b.bidder.address.city, b.bidder.address.zip FROM bids AS b
WHERE b.bidder.address.city IS NULL OR b.bidder.address.city LIKE '%men'
-- duckdb
SELECT id, b.bidder.id, b.bidder.name, b.bidder.address.city, b.bidder.address.zip FROM bids AS b
WHERE b.bidder.address.city IS NULL OR b.bidder.address.city LIKE '%men'
