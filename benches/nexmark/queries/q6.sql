-- Average selling price by seller, over the last 10 auctions that were closed. The published form takes OVER rows of
-- a result that changes, which Flink refuses; as the current answer per seller it is a Top-N of a Top-N.
-- columns: seller BIGINT, price BIGINT
-- key: seller
SELECT seller, AVG(price)
FROM (
  SELECT seller, price, ROW_NUMBER() OVER (PARTITION BY seller ORDER BY expires DESC, id DESC) AS age
  FROM (
    SELECT a.id, a.seller, a.expires, b.price,
           ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.dateTime) AS place
    FROM auction AS a JOIN bid AS b ON a.id = b.auction
    WHERE b.dateTime BETWEEN a.dateTime AND a.expires
  )
  WHERE place = 1
)
WHERE age <= 10
GROUP BY seller
