SELECT b.auction, b.bidder, b.price, b.datetime, b.extra FROM bid b
JOIN (SELECT MAX(price) AS price, TUMBLE_START(datetime, INTERVAL '10' SECOND) AS start, TUMBLE_END(datetime, INTERVAL '10' SECOND) AS window_end
      FROM bid GROUP BY TUMBLE(datetime, INTERVAL '10' SECOND)) AS highest ON b.price = highest.price
WHERE b.datetime BETWEEN highest.start AND highest.window_end
