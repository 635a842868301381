-- Rows in an array become columns, then are grouped in windows.
-- columns: window_start TIMESTAMP(3), sku STRING, units BIGINT, orders BIGINT
-- tidemill
CREATE VIEW order_lines AS SELECT b.id, b.ts, l.sku, l.units FROM bids AS b CROSS JOIN UNNEST(b.`lines`) AS l (sku, units);
SELECT window_start, sku, SUM(units), COUNT(DISTINCT id)
FROM TABLE(TUMBLE(TABLE order_lines, DESCRIPTOR(ts), INTERVAL '5' MINUTE)) GROUP BY window_start, window_end, sku
-- duckdb
WITH order_lines AS (SELECT id, ts, UNNEST(lines) AS l FROM bids)
SELECT bucket(ts, 300000), l.sku, SUM(l.units), COUNT(DISTINCT id) FROM order_lines GROUP BY 1, 2
