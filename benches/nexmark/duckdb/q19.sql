SELECT auction, bidder, price, channel, url, dateTime, extra,
       row_number() OVER (PARTITION BY auction ORDER BY price DESC, dateTime) AS place FROM bid QUALIFY place <= 10
