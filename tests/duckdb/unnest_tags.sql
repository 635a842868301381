-- One row per tag; rows without tags give none.
-- columns: id BIGINT, tag STRING
-- tidemill
SELECT id, tag FROM bids CROSS JOIN UNNEST(tags) AS t (tag)
-- duckdb
SELECT id, tag FROM bids, UNNEST(tags) AS t (tag)
