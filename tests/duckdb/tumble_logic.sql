-- Aggregates of Booleans and bits, exact percentiles.
-- columns: window_start TIMESTAMP(3), all_active BOOLEAN, any_active BOOLEAN, ored INT, xored INT, middle DOUBLE, upper_tenth DOUBLE
-- tidemill
SELECT window_start, BOOL_AND(active), BOOL_OR(active), BIT_OR(quantity), BIT_XOR(quantity), MEDIAN(score),
  PERCENTILE(score, 0.9)
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '10' SECOND)) GROUP BY window_start, window_end
-- duckdb
SELECT bucket(ts, 10000), bool_and(active), bool_or(active), bit_or(quantity), bit_xor(quantity), median(score),
  quantile_cont(score, 0.9)
FROM bids GROUP BY 1
