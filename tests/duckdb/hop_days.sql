-- A week sliding by a day.
-- columns: window_end TIMESTAMP(3), category STRING, n BIGINT, top DECIMAL(10, 3)
-- tidemill
SELECT window_end, category, COUNT(*), MAX(reserve)
FROM TABLE(HOP(TABLE auctions, DESCRIPTOR(opened), INTERVAL '1' DAY, INTERVAL '7' DAY)) GROUP BY window_start, window_end, category
-- duckdb
SELECT date_trunc('day', opened)::TIMESTAMP + to_days(step::INTEGER), category, COUNT(*), MAX(reserve)
FROM auctions CROSS JOIN generate_series(1, 7) AS steps (step) GROUP BY 1, 2
