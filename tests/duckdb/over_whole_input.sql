-- Whole partitions of an input that ends, also of updated results.
-- columns: item STRING, n BIGINT, place BIGINT, share DOUBLE, part BIGINT, rest BIGINT
-- tidemill
SELECT item, n, RANK() OVER (ORDER BY n DESC), CUME_DIST() OVER (ORDER BY n), NTILE(4) OVER (ORDER BY n, item),
  SUM(n) OVER (ORDER BY n, item ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)
FROM (SELECT item, COUNT(*) AS n FROM bids GROUP BY item)
-- duckdb
SELECT item, n, RANK() OVER (ORDER BY n DESC), CUME_DIST() OVER (ORDER BY n), NTILE(4) OVER (ORDER BY n, item NULLS FIRST),
  CAST(SUM(n) OVER (ORDER BY n, item NULLS FIRST ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS BIGINT)
FROM (SELECT item, COUNT(*) AS n FROM bids GROUP BY item)
