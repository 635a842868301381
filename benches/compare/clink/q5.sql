-- sink: changelog
SELECT W_auction AS auction, W_num AS num
FROM (SELECT auction, COUNT(*) AS num, window_start AS start
      FROM bid GROUP BY HOP(datetime, INTERVAL '10' SECOND, INTERVAL '2' SECOND), auction) AS W
JOIN (SELECT MAX(num) AS most, start
      FROM (SELECT auction, COUNT(*) AS num, window_start AS start
            FROM bid GROUP BY HOP(datetime, INTERVAL '10' SECOND, INTERVAL '2' SECOND), auction) AS V
      GROUP BY start) AS M ON W.start = M.start
WHERE W_num >= M_most
