-- CASE in both forms, COALESCE, NULLIF, IF.
-- columns: id BIGINT, band STRING, word STRING, filled DECIMAL(12, 2), no_cup STRING, sure STRING
-- tidemill
SELECT id,
  CASE WHEN price < 100 THEN 'low' WHEN price < 900 THEN 'middle' WHEN price IS NULL THEN 'none' ELSE 'high' END,
  CASE quantity WHEN 1 THEN 'one' WHEN 2 THEN 'two' END,
  COALESCE(price, CAST(0 AS DECIMAL(12, 2))), NULLIF(item, 'cup'), IF(active, 'yes', 'no')
FROM bids
-- duckdb
SELECT id,
  CASE WHEN price < 100 THEN 'low' WHEN price < 900 THEN 'middle' WHEN price IS NULL THEN 'none' ELSE 'high' END,
  CASE quantity WHEN 1 THEN 'one' WHEN 2 THEN 'two' END,
  COALESCE(price, 0::DECIMAL(12, 2)), NULLIF(item, 'cup'), IF(active, 'yes', 'no')
FROM bids
