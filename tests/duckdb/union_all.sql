-- Three inputs of different formats in one stream.
-- columns: origin STRING, id BIGINT, label STRING, amount DECIMAL(14, 3)
-- tidemill
SELECT 'bid', id, item, CAST(price AS DECIMAL(14, 3)) FROM bids WHERE quantity > 30
UNION ALL SELECT 'auction', id, category, CAST(reserve AS DECIMAL(14, 3)) FROM auctions WHERE rating > 50
UNION ALL SELECT 'trade', id, symbol, CAST(amount AS DECIMAL(14, 3)) FROM trades WHERE volume < 0
-- duckdb
SELECT 'bid', id, item, price::DECIMAL(14, 3) FROM bids WHERE quantity > 30
UNION ALL SELECT 'auction', id, category, reserve FROM auctions WHERE rating > 50
UNION ALL SELECT 'trade', id, symbol, amount::DECIMAL(14, 3) FROM trades WHERE volume < 0
