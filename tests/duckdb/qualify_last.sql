-- The last bid of each item, by QUALIFY.
-- columns: item STRING, id BIGINT, ts TIMESTAMP(3)
-- tidemill
SELECT item, id, ts FROM (SELECT item, id, ts FROM bids QUALIFY ROW_NUMBER() OVER (PARTITION BY item ORDER BY ts DESC, id) = 1) ORDER BY item
-- duckdb
SELECT item, id, ts FROM bids QUALIFY ROW_NUMBER() OVER (PARTITION BY item ORDER BY ts DESC, id) = 1
