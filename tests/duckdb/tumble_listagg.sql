-- Sorted and then joined texts of a window, first and last by time.
-- columns: window_start TIMESTAMP(3), earliest BIGINT, latest BIGINT, words BIGINT
-- tidemill
SELECT window_start, MIN(id), MAX(id), CHAR_LENGTH(LISTAGG(item, ';'))
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start, window_end
-- duckdb
SELECT bucket(ts, 60000), MIN(id), MAX(id), length(string_agg(item, ';')) FROM bids GROUP BY 1
