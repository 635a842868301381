-- Aggregates over all rows so far; rows at one time see each other.
-- columns: id BIGINT, n BIGINT, total DECIMAL(38, 2), least DOUBLE, most DOUBLE, items BIGINT, mean DOUBLE
-- tidemill
SELECT id, COUNT(*) OVER w, SUM(price) OVER w, MIN(score) OVER w, MAX(score) OVER w, COUNT(DISTINCT quantity) OVER w, AVG(CAST(quantity AS DOUBLE)) OVER w
FROM bids WINDOW w AS (PARTITION BY item ORDER BY ts)
-- duckdb
SELECT id, COUNT(*) OVER w, SUM(price) OVER w, MIN(score) OVER w, MAX(score) OVER w, COUNT(DISTINCT quantity) OVER w, AVG(quantity::DOUBLE) OVER w
FROM bids WINDOW w AS (PARTITION BY item ORDER BY ts)
