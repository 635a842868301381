-- Text functions over Unicode, quotes and empty texts.
-- columns: id BIGINT, up STRING, len INT, cut STRING, place INT, joined STRING, padded STRING, turned STRING, swapped STRING
-- tidemill
SELECT id, UPPER(item), CHAR_LENGTH(item), SUBSTRING(item FROM 2 FOR 3), POSITION('e' IN item),
  item || '/' || COALESCE(note, '-'), LPAD(item, 6, '*'), REVERSE(item), REPLACE(item, 'e', 'EE')
FROM bids
-- duckdb
SELECT id, upper(item), length(item), substring(item, 2, 3), position('e' IN item),
  item || '/' || COALESCE(note, '-'), left(lpad(item, 6, '*'), 6), reverse(item), replace(item, 'e', 'EE')
FROM bids
