SELECT category, SUM(final) / COUNT(*) AS price
FROM (SELECT a.id, a.category, MAX(b.price) AS final FROM auction a JOIN bid b ON a.id = b.auction
      WHERE b.datetime BETWEEN a.datetime AND a.expires GROUP BY a.id, a.category) AS highest
GROUP BY category
