-- Extremes, distinct counts and sums over totals that change.
-- changes
-- columns: item STRING, low BIGINT, high BIGINT, different BIGINT, total BIGINT
-- tidemill
SELECT item, MIN(s), MAX(s), COUNT(DISTINCT s), SUM(s) FROM (SELECT item, id % 97 AS k, SUM(quantity) AS s FROM bids GROUP BY item, id % 97) AS g GROUP BY item
-- duckdb
SELECT item, MIN(s), MAX(s), COUNT(DISTINCT s), SUM(s) FROM (SELECT item, id % 97 AS k, SUM(quantity) AS s FROM bids GROUP BY item, id % 97) AS g GROUP BY item
