-- IN over a list with NULLs and repetitions.
-- columns: id BIGINT, item STRING
-- tidemill
SELECT id, item FROM bids WHERE quantity IN (SELECT CAST(rating AS INT) FROM auctions WHERE id < 40)
-- duckdb
SELECT id, item FROM bids WHERE quantity IN (SELECT CAST(trunc(rating) AS INT) FROM auctions WHERE id < 40)
