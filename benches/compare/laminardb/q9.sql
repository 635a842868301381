SELECT id, itemname, description, initialbid, reserve, datetime, expires, seller, category, extra, auction, bidder, price, bid_datetime, bid_extra FROM (
  SELECT a.*, b.auction, b.bidder, b.price, b.datetime AS bid_datetime, b.extra AS bid_extra,
         ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.datetime ASC) AS place
  FROM auction a JOIN bid b ON a.id = b.auction WHERE b.datetime BETWEEN a.datetime AND a.expires) AS ranked
WHERE place <= 1
