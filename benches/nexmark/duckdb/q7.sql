WITH highest AS (
  SELECT max(price) AS price, make_timestamp((epoch_us(dateTime) // 10000000 + 1) * 10000000) AS window_end
  FROM bid GROUP BY window_end)
SELECT b.auction, b.bidder, b.price, b.dateTime, b.extra FROM bid b JOIN highest h ON b.price = h.price
WHERE b.dateTime BETWEEN h.window_end - INTERVAL 10 SECONDS AND h.window_end
