-- Keys and arguments that are expressions, arithmetic over aggregates.
-- columns: window_start TIMESTAMP(3), band BIGINT, shout STRING, ratio DOUBLE, span DECIMAL(14, 2)
-- tidemill
SELECT window_start, MOD(id, 3) + 1, UPPER(item), SUM(score * 2) / COUNT(*), MAX(price) - MIN(price)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, MOD(id, 3) + 1, UPPER(item)
-- duckdb
SELECT bucket(ts, 600000), id % 3 + 1, upper(item), SUM(score * 2) / COUNT(*), MAX(price) - MIN(price)
FROM bids GROUP BY 1, 2, 3
