-- Casts between numbers, texts, Booleans and times.
-- columns: id BIGINT, whole INT, text STRING, single DOUBLE, tiny TINYINT, logical STRING, day DATE, clock TIME, money DECIMAL(9, 1), stamp STRING
-- tidemill
SELECT id, CAST(FLOOR(price) AS INT), CAST(quantity AS STRING), CAST(CAST(score AS FLOAT) AS DOUBLE), CAST(quantity AS TINYINT),
  LOWER(CAST(active AS STRING)), CAST(ts AS DATE), CAST(ts AS TIME), CAST(score AS DECIMAL(9, 1)),
  DATE_FORMAT(CAST(ts AS TIMESTAMP(0)), 'yyyy-MM-dd HH:mm:ss.SSS')
FROM bids
-- duckdb
SELECT id, floor(price)::INTEGER, quantity::VARCHAR, score::FLOAT::DOUBLE, quantity::TINYINT, active::VARCHAR, ts::DATE,
  date_trunc('second', ts)::TIME, score::DECIMAL(9, 1), strftime(ts, '%Y-%m-%d %H:%M:%S.000')
FROM bids
