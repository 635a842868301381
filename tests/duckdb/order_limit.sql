-- The dearest bids, and the groups with most bids, at the end.
-- columns: kind STRING, name STRING, amount DECIMAL(14, 2)
-- tidemill
SELECT 'bid' AS kind, CAST(id AS STRING) AS name, CAST(price AS DECIMAL(14, 2)) AS amount FROM (SELECT id, price FROM bids ORDER BY price DESC, id LIMIT 20 OFFSET 5)
UNION ALL
SELECT 'item', item, CAST(n AS DECIMAL(14, 2)) FROM (SELECT item, COUNT(*) AS n FROM bids GROUP BY item ORDER BY n DESC, item FETCH FIRST 3 ROWS ONLY)
-- duckdb
SELECT 'bid', id::VARCHAR, price::DECIMAL(14, 2) FROM (SELECT id, price FROM bids ORDER BY price DESC NULLS LAST, id LIMIT 20 OFFSET 5)
UNION ALL
SELECT 'item', item, n::DECIMAL(14, 2) FROM (SELECT item, COUNT(*) AS n FROM bids GROUP BY item ORDER BY n DESC, item NULLS FIRST LIMIT 3)
