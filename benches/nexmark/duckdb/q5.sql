WITH counted AS (
  SELECT auction, start, count(*) AS num
  FROM bid, LATERAL (SELECT make_timestamp(epoch_us(dateTime) // 2000000 * 2000000) - to_seconds(2 * i) AS start FROM range(5) AS r(i))
  GROUP BY auction, start)
SELECT auction, num FROM counted QUALIFY num = max(num) OVER (PARTITION BY start)
