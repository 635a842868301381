-- An aggregate of an aggregate of an aggregate, with a filter between.
-- changes
-- columns: high BIGINT, many BIGINT, middle DOUBLE
-- tidemill
SELECT high, COUNT(*), MEDIAN(low) FROM (SELECT k % 13 AS b, MAX(n) AS high, MIN(n) AS low FROM (SELECT id % 389 AS k, COUNT(quantity) AS n FROM bids GROUP BY id % 389) AS g WHERE n > 3 GROUP BY k % 13) AS h GROUP BY high
-- duckdb
SELECT high, COUNT(*), MEDIAN(low) FROM (SELECT k % 13 AS b, MAX(n) AS high, MIN(n) AS low FROM (SELECT id % 389 AS k, COUNT(quantity) AS n FROM bids GROUP BY id % 389) AS g WHERE n > 3 GROUP BY k % 13) AS h GROUP BY high
