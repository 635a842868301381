-- TRY_CAST gives NULL where a text is no number or date.
-- columns: id BIGINT, whole INT, real DOUBLE, day DATE
-- tidemill
SELECT id, TRY_CAST(note AS INT), TRY_CAST(note AS DOUBLE), TRY_CAST(note AS DATE) FROM bids WHERE note <> '3.50'
-- duckdb
SELECT id, TRY_CAST(note AS INTEGER), TRY_CAST(note AS DOUBLE), TRY_CAST(note AS DATE) FROM bids WHERE note <> '3.50'
