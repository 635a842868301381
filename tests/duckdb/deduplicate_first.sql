-- The first bid of each bidder and item by time: appended as the watermark passes.
-- columns: item STRING, bidder BIGINT, id BIGINT, ts TIMESTAMP(3)
-- tidemill
SELECT item, bidder, id, ts FROM (
  SELECT item, b.bidder.id AS bidder, id, ts, ROW_NUMBER() OVER (PARTITION BY item, b.bidder.id ORDER BY ts, id) AS n FROM bids AS b) WHERE n = 1
-- duckdb
SELECT item, bidder, id, ts FROM (
  SELECT item, b.bidder.id AS bidder, id, ts, ROW_NUMBER() OVER (PARTITION BY item, b.bidder.id ORDER BY ts, id) AS n FROM bids AS b) WHERE n = 1
