-- Aggregates take columns only and have no FILTER: the levels are columns of a subquery.
SELECT channel, day, MAX(hour_minute) AS minute,
       COUNT(*) AS total_bids, SUM(r1) AS rank1_bids, SUM(r2) AS rank2_bids, SUM(r3) AS rank3_bids,
       COUNT(DISTINCT bidder) AS total_bidders, COUNT(DISTINCT bidder1) AS rank1_bidders,
       COUNT(DISTINCT bidder2) AS rank2_bidders, COUNT(DISTINCT bidder3) AS rank3_bidders,
       COUNT(DISTINCT auction) AS total_auctions, COUNT(DISTINCT auction1) AS rank1_auctions,
       COUNT(DISTINCT auction2) AS rank2_auctions, COUNT(DISTINCT auction3) AS rank3_auctions
FROM (SELECT channel, bidder, auction, DATE_FORMAT(datetime, 'yyyy-MM-dd') AS day, DATE_FORMAT(datetime, 'HH:mm') AS hour_minute,
             CASE WHEN price < 10000 THEN 1 ELSE 0 END AS r1,
             CASE WHEN price >= 10000 AND price < 1000000 THEN 1 ELSE 0 END AS r2,
             CASE WHEN price >= 1000000 THEN 1 ELSE 0 END AS r3,
             CASE WHEN price < 10000 THEN bidder END AS bidder1,
             CASE WHEN price >= 10000 AND price < 1000000 THEN bidder END AS bidder2,
             CASE WHEN price >= 1000000 THEN bidder END AS bidder3,
             CASE WHEN price < 10000 THEN auction END AS auction1,
             CASE WHEN price >= 10000 AND price < 1000000 THEN auction END AS auction2,
             CASE WHEN price >= 1000000 THEN auction END AS auction3
      FROM bid) AS ranked
GROUP BY channel, day
