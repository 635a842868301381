-- JSON text made and read again.
-- columns: id BIGINT, item STRING, units INT, there BOOLEAN
-- tidemill
SELECT id, JSON_VALUE(doc, '$.item'), JSON_VALUE(doc, '$.deep[1].units' RETURNING INT), JSON_EXISTS(doc, '$.deep[1]')
FROM (SELECT id, JSON_OBJECT(KEY 'item' VALUE item, KEY 'deep' VALUE JSON_ARRAY(1, JSON_OBJECT(KEY 'units' VALUE quantity))) AS doc FROM bids) AS d
-- duckdb
SELECT id, item, quantity, true FROM bids
