-- Array access, size and membership.
-- columns: id BIGINT, first_tag STRING, size INT, rare BOOLEAN, first_sku STRING
-- tidemill
SELECT id, tags[1], CARDINALITY(tags), ARRAY_CONTAINS(tags, 'rare'), `lines`[1].sku FROM bids
-- duckdb
SELECT id, tags[1], len(tags), list_contains(tags, 'rare'), lines[1].sku FROM bids
