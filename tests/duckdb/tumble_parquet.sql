-- Windows over a Parquet file with microseconds.
-- columns: window_start TIMESTAMP(3), symbol STRING, n BIGINT, first_traded TIMESTAMP(6), last_traded TIMESTAMP(6), turnover DECIMAL(30, 2)
-- tidemill
SELECT window_start, symbol, COUNT(*), MIN(traded), MAX(traded), SUM(amount * volume)
FROM TABLE(TUMBLE(TABLE trades, DESCRIPTOR(at_ms), INTERVAL '90' SECOND)) GROUP BY window_start, window_end, symbol
-- duckdb
SELECT bucket(traded, 90000), symbol, COUNT(*), MIN(traded), MAX(traded), SUM(amount * volume) FROM trades GROUP BY 1, 2
