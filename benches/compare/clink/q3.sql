SELECT P.name AS name, P.city AS city, P.state AS state, A.id AS id
FROM auction AS A JOIN person AS P ON A.seller = P.id
WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA')
