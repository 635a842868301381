SELECT bidder, COUNT(*) AS bid_count, MIN(datetime) AS starttime, MAX(datetime) + 10000 AS endtime
FROM bid GROUP BY bidder, SESSION(datetime, INTERVAL '10' SECOND)
