-- Top-N over results that are updated on the way.
-- columns: item STRING, bidder STRING, total DECIMAL(38, 2), n BIGINT
-- tidemill
SELECT item, bidder, total, n FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY total DESC, bidder) AS n FROM (
    SELECT item, b.bidder.name AS bidder, SUM(price) AS total FROM bids AS b GROUP BY item, b.bidder.name)) WHERE n <= 4 ORDER BY n
-- duckdb
SELECT item, bidder, total, n FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY item ORDER BY total DESC NULLS LAST, bidder NULLS FIRST) AS n FROM (
    SELECT item, b.bidder.name AS bidder, SUM(price) AS total FROM bids AS b GROUP BY 1, 2)) WHERE n <= 4
