-- The seller's last auction before now, where it had a rating, and its own category; without one the row stays.
-- columns: id BIGINT, other BIGINT, rating DOUBLE
-- tidemill
CREATE TABLE ratings (id BIGINT, category STRING, seller STRING, reserve DECIMAL(10, 3), rating DOUBLE, opened TIMESTAMP(3),
  WATERMARK FOR opened AS opened - INTERVAL '1' HOUR, PRIMARY KEY (seller) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'auctions.csv', 'format' = 'csv', 'csv.header' = 'true', 'csv.null-literal' = '');
CREATE VIEW turned AS SELECT id, category, opened, REPLACE(seller, 'Emden', 'Husum') AS seller FROM auctions;
SELECT a.id, r.id, r.rating FROM turned AS a LEFT JOIN ratings FOR SYSTEM_TIME AS OF a.opened AS r
ON a.seller = r.seller AND r.rating IS NOT NULL AND a.category <> r.category
-- duckdb
WITH turned AS (SELECT id, category, opened, replace(seller, 'Emden', 'Husum') AS seller FROM auctions),
  found AS (SELECT a.id, a.category AS own, r.id AS other, r.category, r.rating FROM turned AS a
    ASOF LEFT JOIN auctions AS r ON a.seller = r.seller AND a.opened >= r.opened)
SELECT id, CASE WHEN rating IS NOT NULL AND own <> category THEN other END,
  CASE WHEN rating IS NOT NULL AND own <> category THEN rating END FROM found
