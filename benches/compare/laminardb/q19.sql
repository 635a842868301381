SELECT auction, bidder, price, channel, url, datetime, extra, place
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) AS ranked WHERE place <= 10
