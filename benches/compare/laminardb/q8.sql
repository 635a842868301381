SELECT p.id, p.name, p.start FROM (
  SELECT id, name, TUMBLE_START(datetime, INTERVAL '10' SECOND) AS start FROM person GROUP BY id, name, TUMBLE(datetime, INTERVAL '10' SECOND)) AS p
JOIN (
  SELECT seller, TUMBLE_START(datetime, INTERVAL '10' SECOND) AS start FROM auction GROUP BY seller, TUMBLE(datetime, INTERVAL '10' SECOND)) AS a
ON p.id = a.seller AND p.start = a.start
