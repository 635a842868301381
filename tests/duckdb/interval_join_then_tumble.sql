-- Pairs of bids close to each other, counted by minute.
-- columns: window_start TIMESTAMP(3), n BIGINT
-- tidemill
CREATE VIEW pairs AS SELECT a.ts FROM bids AS a JOIN bids AS b
ON a.item = b.item AND b.ts >= a.ts AND b.ts <= a.ts + INTERVAL '1' SECOND AND a.id <> b.id;
SELECT window_start, COUNT(*) FROM TABLE(TUMBLE(TABLE pairs, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end
-- duckdb
SELECT bucket(a.ts, 60000), COUNT(*) FROM bids AS a JOIN bids AS b
ON a.item = b.item AND b.ts >= a.ts AND b.ts <= a.ts + INTERVAL 1 SECOND AND a.id <> b.id GROUP BY 1
