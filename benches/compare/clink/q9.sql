SELECT id, itemname, description, initialbid, reserve, datetime, expires, seller, category, extra,
       auction, bidder, price, bid_datetime, bid_extra
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY price DESC, bid_datetime ASC) AS place
      FROM (SELECT A.id AS id, A.itemname AS itemname, A.description AS description, A.initialbid AS initialbid,
                   A.reserve AS reserve, A.datetime AS datetime, A.expires AS expires, A.seller AS seller,
                   A.category AS category, A.extra AS extra, B.auction AS auction, B.bidder AS bidder,
                   B.price AS price, B.datetime AS bid_datetime, B.extra AS bid_extra
            FROM auction AS A JOIN bid AS B ON A.id = B.auction
            WHERE B.datetime >= A.datetime AND B.datetime <= A.expires) AS valid) AS ranked
WHERE place <= 1
