-- Standard deviations and variances, of samples and populations, NULL where undefined.
-- columns: window_start TIMESTAMP(3), item STRING, s DOUBLE, sp DOUBLE, v DOUBLE, vp DOUBLE
-- tidemill
SELECT window_start, item, STDDEV_SAMP(score), STDDEV_POP(score), VAR_SAMP(score), VAR_POP(score)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '20' SECOND)) GROUP BY window_start, window_end, item
-- duckdb
SELECT bucket(ts, 20000), item, stddev_samp(score), stddev_pop(score), var_samp(score), var_pop(score)
FROM bids GROUP BY 1, 2
