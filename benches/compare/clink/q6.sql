SELECT seller, CAST(FLOOR(total / auctions) AS BIGINT) AS price
FROM (SELECT seller, SUM(price) AS total, COUNT(*) AS auctions
      FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY expires DESC, id DESC) AS age
            FROM (SELECT id, seller, expires, price
                  FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY id ORDER BY price DESC, datetime ASC) AS place
                        FROM (SELECT A.id AS id, A.seller AS seller, A.expires AS expires, B.price AS price, B.datetime AS datetime
                              FROM auction AS A JOIN bid AS B ON A.id = B.auction
                              WHERE B.datetime >= A.datetime AND B.datetime <= A.expires) AS valid) AS ranked
                  WHERE place <= 1) AS winning) AS aged
      WHERE age <= 10
      GROUP BY seller) AS sums
