-- Numbers and earlier rows.
-- columns: id BIGINT, n BIGINT, r BIGINT, d BIGINT, one DECIMAL(12, 2), three DECIMAL(12, 2), other BIGINT
-- tidemill
SELECT id, ROW_NUMBER() OVER w, RANK() OVER (PARTITION BY item ORDER BY ts), DENSE_RANK() OVER (PARTITION BY item ORDER BY ts),
  LAG(price) OVER w, LAG(price, 3, CAST(-1 AS DECIMAL(12, 2))) OVER w, LAG(id, 1, id) OVER (ORDER BY ts, id)
FROM bids WINDOW w AS (PARTITION BY item ORDER BY ts, id)
-- duckdb
SELECT id, ROW_NUMBER() OVER w, RANK() OVER (PARTITION BY item ORDER BY ts), DENSE_RANK() OVER (PARTITION BY item ORDER BY ts),
  LAG(price) OVER w, LAG(price, 3, -1) OVER w, LAG(id, 1, id) OVER (ORDER BY ts, id)
FROM bids WINDOW w AS (PARTITION BY item ORDER BY ts, id)
