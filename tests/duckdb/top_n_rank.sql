-- RANK with ties, and a range of DENSE_RANK.
-- columns: kind STRING, item STRING, id BIGINT, r BIGINT
-- tidemill
SELECT kind, item, id, r FROM (
  SELECT 'rank' AS kind, item, id, r FROM (SELECT *, RANK() OVER (PARTITION BY item ORDER BY quantity DESC) AS r FROM bids) WHERE r <= 5
  UNION ALL
  SELECT 'dense' AS kind, item, id, r FROM (SELECT *, DENSE_RANK() OVER (PARTITION BY item ORDER BY quantity) AS r FROM bids) WHERE r BETWEEN 2 AND 3
) ORDER BY id
-- duckdb
SELECT 'rank', item, id, r FROM (SELECT *, RANK() OVER (PARTITION BY item ORDER BY quantity DESC NULLS LAST) AS r FROM bids) WHERE r <= 5
UNION ALL
SELECT 'dense', item, id, r FROM (SELECT *, DENSE_RANK() OVER (PARTITION BY item ORDER BY quantity NULLS FIRST) AS r FROM bids) WHERE r BETWEEN 2 AND 3
