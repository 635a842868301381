-- FLOOR and CEIL of times to units; DATE_FORMAT; day and clock columns of the CSV.
-- columns: id BIGINT, to_hour TIMESTAMP(3), to_month TIMESTAMP(3), up_to_day TIMESTAMP(3), text STRING, `day` DATE, clock TIME
-- tidemill
SELECT id, FLOOR(opened TO HOUR), FLOOR(opened TO MONTH), CEIL(opened TO DAY), DATE_FORMAT(opened, 'dd.MM.yyyy HH:mm'),
  `day`, `at`
FROM auctions
-- duckdb
SELECT id, date_trunc('hour', opened), date_trunc('month', opened)::TIMESTAMP,
  CASE WHEN date_trunc('day', opened) = opened THEN opened ELSE date_trunc('day', opened) + INTERVAL 1 DAY END,
  strftime(opened, '%d.%m.%Y %H:%M'), "day", "at"
FROM auctions
