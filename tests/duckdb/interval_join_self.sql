-- Bids for the same item at most two seconds before and one second after each other.
-- columns: id BIGINT, other BIGINT
-- tidemill
SELECT a.id, b.id FROM bids AS a JOIN bids AS b
ON a.item = b.item AND b.ts BETWEEN a.ts - INTERVAL '2' SECOND AND a.ts + INTERVAL '1' SECOND AND a.id <> b.id
-- duckdb
SELECT a.id, b.id FROM bids AS a JOIN bids AS b
ON a.item = b.item AND b.ts BETWEEN a.ts - INTERVAL 2 SECOND AND a.ts + INTERVAL 1 SECOND AND a.id <> b.id
