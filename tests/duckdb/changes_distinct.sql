-- Distinct results of groups that change, united with others.
-- changes
-- columns: n BIGINT
-- tidemill
SELECT DISTINCT n FROM (SELECT id % 211 AS k, COUNT(note) AS n FROM bids GROUP BY id % 211) AS g UNION SELECT CAST(quantity AS BIGINT) FROM bids WHERE active
-- duckdb
SELECT DISTINCT n FROM (SELECT id % 211 AS k, COUNT(note) AS n FROM bids GROUP BY id % 211) AS g UNION SELECT CAST(quantity AS BIGINT) FROM bids WHERE active
