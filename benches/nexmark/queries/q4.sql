-- Average price per category: the winning bid of each auction, averaged over the auctions of its category.
-- columns: category BIGINT, price BIGINT
-- key: category
SELECT category, AVG(final)
FROM (
  SELECT MAX(b.price) AS final, a.category
  FROM auction AS a JOIN bid AS b ON a.id = b.auction
  WHERE b.dateTime BETWEEN a.dateTime AND a.expires
  GROUP BY a.id, a.category
)
GROUP BY category
