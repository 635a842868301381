-- sink: changelog
SELECT B.auction AS auction, B.bidder AS bidder, B.price AS price, B.datetime AS datetime, B.extra AS extra
FROM bid AS B
JOIN (SELECT MAX(price) AS most, window_start AS wstart, window_end AS wend
      FROM bid GROUP BY TUMBLE(datetime, INTERVAL '10' SECOND)) AS M ON B.price = M.most
WHERE B.datetime >= M_wstart AND B.datetime <= M_wend
