-- Bids and trades of the same item and quantity in hopping windows, where one is dearer; those without partner.
-- columns: starts TIMESTAMP(3), id BIGINT, trade BIGINT
-- tidemill
SELECT COALESCE(a.window_start, b.window_start), a.id, b.id
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) AS a
FULL JOIN TABLE(HOP(TABLE trades, DESCRIPTOR(at_ms), INTERVAL '10' SECOND, INTERVAL '20' SECOND)) AS b
ON a.item = b.symbol AND a.quantity = b.volume AND a.price > b.amount
  AND a.window_start = b.window_start AND a.window_end = b.window_end
-- duckdb
WITH a AS (SELECT *, bucket(ts, 10000) - to_seconds(10 * n) AS w FROM bids, range(2) AS r(n)),
  b AS (SELECT *, bucket(traded, 10000) - to_seconds(10 * n) AS w FROM trades, range(2) AS r(n))
SELECT COALESCE(a.w, b.w), a.id, b.id FROM a FULL JOIN b
ON a.item = b.symbol AND a.quantity = b.volume AND a.price > b.amount AND a.w = b.w
