-- Comparisons of decimals, NULLs left out.
-- columns: id BIGINT, price DECIMAL(12, 2), doubled DECIMAL(14, 2)
-- tidemill
SELECT id, price, price + price FROM bids WHERE price >= 500.5 AND quantity BETWEEN 3 AND 20
-- duckdb
SELECT id, price, price + price FROM bids WHERE price >= 500.5 AND quantity BETWEEN 3 AND 20
