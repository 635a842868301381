-- Results of two window aggregations side by side, also where one of them has none.
-- columns: starts TIMESTAMP(3), item STRING, bids BIGINT, sold BIGINT
-- tidemill
SELECT a.window_start, a.item, a.n, b.n FROM
(SELECT window_start, window_end, item, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND))
 GROUP BY window_start, window_end, item) AS a
LEFT JOIN (SELECT window_start, window_end, symbol, COUNT(*) AS n FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(at_ms), INTERVAL '20' SECOND))
 WHERE volume > 20 GROUP BY window_start, window_end, symbol) AS b
ON a.item = b.symbol AND a.window_start = b.window_start AND a.window_end = b.window_end
-- duckdb
SELECT a.w, a.item, a.n, b.n FROM (SELECT bucket(ts, 20000) AS w, item, COUNT(*) AS n FROM bids GROUP BY 1, 2) AS a
LEFT JOIN (SELECT bucket(traded, 20000) AS w, symbol, COUNT(*) AS n FROM trades WHERE volume > 20 GROUP BY 1, 2) AS b
ON a.item = b.symbol AND a.w = b.w
