-- Local items: who sells items of category 10 in three states? A join of two unbounded streams.
-- columns: name STRING, city STRING, state STRING, id BIGINT
SELECT p.name, p.city, p.state, a.id
FROM auction AS a JOIN person AS p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA')
