-- A Parquet file written by DuckDB: microseconds, decimals, arrays, NULLs.
-- columns: id BIGINT, symbol STRING, price DOUBLE, amount DECIMAL(12, 2), volume INT, tags ARRAY<STRING>, traded TIMESTAMP(6)
-- tidemill
SELECT id, symbol, price, amount, volume, tags, traded FROM trades WHERE price > 25 OR price IS NULL
-- duckdb
SELECT * FROM trades WHERE price > 25 OR price IS NULL
