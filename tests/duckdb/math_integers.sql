-- Integer arithmetic: division truncates towards zero, the remainder has the sign of the dividend.
-- columns: id BIGINT, halves INT, remainder INT, wide BIGINT, lowest INT, highest INT
-- tidemill
SELECT id, quantity / 4, MOD(quantity, 4), id * quantity - 7, LEAST(quantity, 10), GREATEST(quantity, 10)
FROM bids WHERE quantity IS NOT NULL
-- duckdb
SELECT id, quantity // 4, quantity % 4, id * quantity - 7, least(quantity, 10), greatest(quantity, 10)
FROM bids WHERE quantity IS NOT NULL
