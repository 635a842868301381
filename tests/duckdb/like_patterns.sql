-- LIKE with wildcards and an escape character, NOT LIKE, SIMILAR shapes by regular expression.
-- columns: id BIGINT, item STRING, note STRING
-- tidemill
SELECT id, item, note FROM bids
WHERE item LIKE '_u%' OR note LIKE '!%?b=%' ESCAPE '!' OR note LIKE '%!_b%' ESCAPE '!' OR note LIKE 'ta%h_re' OR (note NOT LIKE '%e%' AND REGEXP(note, '^[0-9.-]+$'))
-- duckdb
SELECT id, item, note FROM bids
WHERE item LIKE '_u%' OR note LIKE '!%?b=%' ESCAPE '!' OR note LIKE '%!_b%' ESCAPE '!' OR note LIKE 'ta%h_re' OR (note NOT LIKE '%e%' AND regexp_matches(note, '^[0-9.-]+$'))
