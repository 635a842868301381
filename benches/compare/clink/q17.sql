-- Aggregates take columns only and have no FILTER: the levels are columns of a subquery.
SELECT auction, day, total_bids, rank1_bids, rank2_bids, rank3_bids, min_price, max_price,
       CAST(FLOOR(sum_price / total_bids) AS BIGINT) AS avg_price, sum_price
FROM (SELECT auction, day, COUNT(*) AS total_bids, SUM(r1) AS rank1_bids, SUM(r2) AS rank2_bids, SUM(r3) AS rank3_bids,
             MIN(price) AS min_price, MAX(price) AS max_price, SUM(price) AS sum_price
      FROM (SELECT auction, price, DATE_FORMAT(datetime, 'yyyy-MM-dd') AS day,
                   CASE WHEN price < 10000 THEN 1 ELSE 0 END AS r1,
                   CASE WHEN price >= 10000 AND price < 1000000 THEN 1 ELSE 0 END AS r2,
                   CASE WHEN price >= 1000000 THEN 1 ELSE 0 END AS r3
            FROM bid) AS ranked
      GROUP BY auction, day) AS sums
