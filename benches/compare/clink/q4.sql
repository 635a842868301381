-- AVG does not divide whole numbers here: the sum and the count are divided.
SELECT category, CAST(FLOOR(total / auctions) AS BIGINT) AS price
FROM (SELECT category, SUM(final) AS total, COUNT(*) AS auctions
      FROM (SELECT A.id AS id, A.category AS category, MAX(B.price) AS final
            FROM auction AS A JOIN bid AS B ON A.id = B.auction
            WHERE B.datetime >= A.datetime AND B.datetime <= A.expires
            GROUP BY A.id, A.category) AS highest
      GROUP BY category) AS sums
