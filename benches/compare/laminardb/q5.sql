SELECT auction, num FROM (
  SELECT auction, num, RANK() OVER (PARTITION BY start ORDER BY num DESC) AS place FROM (
    SELECT auction, COUNT(*) AS num, HOP_START(datetime, INTERVAL '2' SECOND, INTERVAL '10' SECOND) AS start
    FROM bid GROUP BY auction, HOP(datetime, INTERVAL '2' SECOND, INTERVAL '10' SECOND)) AS counted) AS ranked
WHERE place = 1
