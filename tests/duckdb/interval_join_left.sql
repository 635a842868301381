-- Trades strictly within two seconds after a bid, with a condition beyond; bids without one stay.
-- columns: id BIGINT, trade BIGINT
-- tidemill
SELECT b.id, t.id FROM bids AS b LEFT JOIN trades AS t
ON b.item = t.symbol AND t.at_ms > b.ts AND t.at_ms < b.ts + INTERVAL '2' SECOND AND t.volume > b.quantity
-- duckdb
SELECT b.id, t.id FROM bids AS b LEFT JOIN (SELECT *, date_trunc('milliseconds', traded) AS at_ms FROM trades) AS t
ON b.item = t.symbol AND t.at_ms > b.ts AND t.at_ms < b.ts + INTERVAL 2 SECOND AND t.volume > b.quantity
