-- Intervals added, TIMESTAMPADD at month ends, TIMESTAMPDIFF in whole units.
-- columns: id BIGINT, later TIMESTAMP(3), next_month TIMESTAMP(3), earlier TIMESTAMP(3), hours BIGINT, days BIGINT, seconds BIGINT
-- tidemill
SELECT id, opened + INTERVAL '90' MINUTE, TIMESTAMPADD(MONTH, 1, opened), opened - INTERVAL '2' DAY,
  TIMESTAMPDIFF(HOUR, TIMESTAMP '2024-02-29 12:00:00', opened), TIMESTAMPDIFF(DAY, TIMESTAMP '2024-02-29 12:00:00', opened),
  TIMESTAMPDIFF(SECOND, TIMESTAMP '2023-01-01 00:00:00', opened)
FROM auctions
-- duckdb
SELECT id, opened + INTERVAL 90 MINUTE, opened + INTERVAL 1 MONTH, opened - INTERVAL 2 DAY,
  datesub('hour', TIMESTAMP '2024-02-29 12:00:00', opened), datesub('day', TIMESTAMP '2024-02-29 12:00:00', opened),
  datesub('second', TIMESTAMP '2023-01-01 00:00:00', opened)
FROM auctions
