-- UNION without ALL.
-- columns: item STRING, active BOOLEAN
-- tidemill
SELECT item, active FROM bids UNION SELECT symbol, volume > 20 FROM trades
-- duckdb
SELECT item, active FROM bids UNION SELECT symbol, volume > 20 FROM trades
