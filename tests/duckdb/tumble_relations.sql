-- Covariance, correlation and regression between two columns.
-- columns: window_start TIMESTAMP(3), cs DOUBLE, cp DOUBLE, r DOUBLE, slope DOUBLE, intercept DOUBLE, n BIGINT
-- tidemill
SELECT window_start, COVAR_SAMP(score, CAST(quantity AS DOUBLE)), COVAR_POP(score, CAST(quantity AS DOUBLE)),
  CORR(score, CAST(quantity AS DOUBLE)), REGR_SLOPE(score, CAST(quantity AS DOUBLE)),
  REGR_INTERCEPT(score, CAST(quantity AS DOUBLE)), REGR_COUNT(score, CAST(quantity AS DOUBLE))
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '15' MINUTE)) GROUP BY window_start, window_end
-- duckdb
SELECT bucket(ts, 900000), covar_samp(score, quantity), covar_pop(score, quantity), corr(score, quantity),
  regr_slope(score, quantity), regr_intercept(score, quantity), regr_count(score, quantity)
FROM bids GROUP BY 1
