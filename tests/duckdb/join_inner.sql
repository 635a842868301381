-- An inner join of files of two formats, with a condition beside the key and a computed key.
-- columns: bid BIGINT, auction BIGINT, category STRING, price DECIMAL(12, 2)
-- tidemill
SELECT b.id, a.id, a.category, b.price FROM bids AS b JOIN auctions AS a ON b.id = a.id * 2 + 1 AND b.price > a.reserve / 10
-- duckdb
SELECT b.id, a.id, a.category, b.price FROM bids AS b JOIN auctions AS a ON b.id = a.id * 2 + 1 AND b.price > a.reserve / 10
