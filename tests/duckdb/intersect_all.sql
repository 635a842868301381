-- INTERSECT ALL counts repeated rows, NULLs among them.
-- columns: item STRING, quantity INT
-- tidemill
SELECT item, quantity FROM bids WHERE id < 3000 INTERSECT ALL SELECT symbol, volume FROM trades WHERE id BETWEEN 2000 AND 7000
-- duckdb
SELECT item, quantity FROM bids WHERE id < 3000 INTERSECT ALL SELECT symbol, volume FROM trades WHERE id BETWEEN 2000 AND 7000
