-- Texts to times and back.
-- columns: id BIGINT, parsed TIMESTAMP(3), parsed_day DATE, epoch_s BIGINT
-- tidemill
SELECT id, TO_TIMESTAMP(DATE_FORMAT(opened, 'yyyy/MM/dd HH-mm-ss'), 'yyyy/MM/dd HH-mm-ss'),
  TO_DATE(DATE_FORMAT(opened, 'yyyyMMdd'), 'yyyyMMdd'), UNIX_TIMESTAMP(DATE_FORMAT(opened, 'yyyy-MM-dd HH:mm:ss'))
FROM auctions
-- duckdb
SELECT id, date_trunc('second', opened), opened::DATE, epoch(date_trunc('second', opened))::BIGINT FROM auctions
