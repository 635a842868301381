SELECT P_id AS id, P_name AS name, P_start AS since
FROM (SELECT id, name, COUNT(*) AS persons, window_start AS start
      FROM person GROUP BY TUMBLE(datetime, INTERVAL '10' SECOND), id, name) AS P
JOIN (SELECT seller, COUNT(*) AS auctions, window_start AS start
      FROM auction GROUP BY TUMBLE(datetime, INTERVAL '10' SECOND), seller) AS A ON P.id = A.seller
WHERE P_start = A_start
