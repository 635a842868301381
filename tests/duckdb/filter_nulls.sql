-- Three-valued logic: NOT, IN with NULL, IS DISTINCT FROM, IS NOT TRUE.
-- columns: id BIGINT, item STRING, active BOOLEAN
-- tidemill
SELECT id, item, active FROM bids
WHERE (NOT active OR quantity IN (1, 2, 3, NULL)) AND price IS DISTINCT FROM NULL AND (score > 0) IS NOT TRUE
-- duckdb
SELECT id, item, active FROM bids
WHERE (NOT active OR quantity IN (1, 2, 3, NULL)) AND price IS DISTINCT FROM NULL AND (score > 0) IS NOT TRUE
