SELECT seller, SUM(price) / COUNT(*) AS price FROM (
  SELECT seller, price, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY expires DESC, id DESC) AS age FROM (
    SELECT a.id, a.seller, a.expires, b.price, ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.datetime) AS place
    FROM auction a JOIN bid b ON a.id = b.auction WHERE b.datetime BETWEEN a.datetime AND a.expires) AS ranked
  WHERE place = 1) AS aged
WHERE age <= 10 GROUP BY seller
