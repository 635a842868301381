-- The three dearest bids of each item, with their number; the answer is written when the input has ended.
-- columns: item STRING, id BIGINT, price DECIMAL(12, 2), n BIGINT
-- tidemill
SELECT item, id, price, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY price DESC, id) AS n FROM bids) WHERE n <= 3 ORDER BY item, n
-- duckdb
SELECT item, id, price, n FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY price DESC NULLS LAST, id) AS n FROM bids) WHERE n <= 3
