SELECT seller, (sum(price) // count(*))::BIGINT FROM (
  SELECT * FROM (
    SELECT id, seller, expires, price FROM valid_bid
    QUALIFY row_number() OVER (PARTITION BY id ORDER BY price DESC, dateTime) = 1)
  QUALIFY row_number() OVER (PARTITION BY seller ORDER BY expires DESC, id DESC) <= 10)
GROUP BY seller
