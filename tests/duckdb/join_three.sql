-- Three tables by comma, with their conditions in WHERE.
-- columns: bid BIGINT, item STRING, category STRING, volume INT
-- tidemill
SELECT b.id, b.item, a.category, t.volume FROM bids AS b, auctions AS a, trades AS t
WHERE b.id = a.id AND t.id = a.id + 5 AND (t.volume > b.quantity OR a.category = 'art')
-- duckdb
SELECT b.id, b.item, a.category, t.volume FROM bids AS b, auctions AS a, trades AS t
WHERE b.id = a.id AND t.id = a.id + 5 AND (t.volume > b.quantity OR a.category = 'art')
