SELECT bidder, count(*), min(dateTime), max(dateTime) + INTERVAL 10 SECONDS FROM (
  SELECT *, sum(opens) OVER (PARTITION BY bidder ORDER BY dateTime ROWS UNBOUNDED PRECEDING) AS number FROM (
    SELECT bidder, dateTime, coalesce((dateTime - lag(dateTime) OVER (PARTITION BY bidder ORDER BY dateTime)
      > INTERVAL 10 SECONDS)::INT, 1) AS opens FROM bid))
GROUP BY bidder, number
