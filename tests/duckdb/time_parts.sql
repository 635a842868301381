-- Parts of times, EXTRACT in its units, ISO weeks around New Year.
-- columns: id BIGINT, y BIGINT, q BIGINT, m BIGINT, w BIGINT, d BIGINT, doy BIGINT, dow BIGINT, h BIGINT, mi BIGINT, s BIGINT
-- tidemill
SELECT id, EXTRACT(YEAR FROM opened), QUARTER(opened), MONTH(opened), WEEK(opened), DAYOFMONTH(opened), DAYOFYEAR(opened),
  DAYOFWEEK(opened), HOUR(opened), EXTRACT(MINUTE FROM opened), SECOND(opened)
FROM auctions
-- duckdb
SELECT id, year(opened), quarter(opened), month(opened), week(opened), day(opened), dayofyear(opened),
  dayofweek(opened) + 1, hour(opened), minute(opened), second(opened)
FROM auctions
