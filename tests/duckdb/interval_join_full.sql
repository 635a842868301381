-- Bids and trades of one item less than 300 milliseconds apart; those without partner on both sides.
-- columns: id BIGINT, trade BIGINT
-- tidemill
SELECT b.id, t.id FROM bids AS b FULL JOIN trades AS t
ON b.item = t.symbol AND b.quantity = t.volume AND t.at_ms - INTERVAL '0.3' SECOND < b.ts AND b.ts - INTERVAL '0.3' SECOND < t.at_ms
-- duckdb
SELECT b.id, t.id FROM bids AS b FULL JOIN (SELECT *, date_trunc('milliseconds', traded) AS at_ms FROM trades) AS t
ON b.item = t.symbol AND b.quantity = t.volume AND abs(epoch_ms(t.at_ms) - epoch_ms(b.ts)) < 300
