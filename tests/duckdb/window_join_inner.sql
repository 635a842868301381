-- Bids and trades of the same item, quantity and half minute.
-- columns: window_end TIMESTAMP(3), id BIGINT, trade BIGINT
-- tidemill
SELECT a.window_end, a.id, b.id FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '30' SECOND)) AS a
JOIN TABLE(TUMBLE(TABLE trades, DESCRIPTOR(at_ms), INTERVAL '30' SECOND)) AS b
ON a.item = b.symbol AND a.quantity = b.volume AND a.window_start = b.window_start AND a.window_end = b.window_end
-- duckdb
SELECT bucket(a.ts, 30000) + INTERVAL 30 SECOND, a.id, b.id FROM bids AS a JOIN trades AS b
ON a.item = b.symbol AND a.quantity = b.volume AND bucket(a.ts, 30000) = bucket(b.traded, 30000)
