-- Trimming, splitting, left and right, regular expressions, hashes.
-- columns: id BIGINT, trimmed STRING, field STRING, head STRING, tail STRING, digits STRING, changed STRING, hash STRING
-- tidemill
SELECT id, TRIM(note), SPLIT_INDEX(note, '=', 1), LEFT(note, 3), RIGHT(note, 2),
  REGEXP_EXTRACT(note, '([0-9]+)', 1), REGEXP_REPLACE(note, '[aeiou]', '_'), MD5(note)
FROM bids WHERE note IS NOT NULL
-- duckdb
SELECT id, trim(note), string_split(note, '=')[2], left(note, 3), right(note, 2),
  CASE WHEN regexp_matches(note, '[0-9]+') THEN regexp_extract(note, '([0-9]+)', 1) END,
  regexp_replace(note, '[aeiou]', '_', 'g'), md5(note)
FROM bids WHERE note IS NOT NULL
