-- Decimal arithmetic keeps every digit.
-- columns: id BIGINT, total DECIMAL(24, 2), taxed DECIMAL(20, 4), rounded DECIMAL(14, 1), negated DECIMAL(12, 2), size DECIMAL(12, 2)
-- tidemill
SELECT id, price * quantity, price * 1.19, ROUND(price, 1), -price, ABS(price - 500.00) FROM bids
-- duckdb
SELECT id, price * quantity, price * 1.19, round(price, 1), -price, abs(price - 500.00) FROM bids
