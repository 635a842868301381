-- The last auction of another category that had been opened when an auction was; those without category are no versions.
-- columns: id BIGINT, other BIGINT
-- tidemill
CREATE TABLE openings (id BIGINT, category STRING, opened TIMESTAMP(3), WATERMARK FOR opened AS opened - INTERVAL '1' HOUR,
  PRIMARY KEY (category) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'auctions.csv', 'format' = 'csv', 'csv.header' = 'true', 'csv.null-literal' = '',
  'csv.ignore-parse-errors' = 'true');
CREATE VIEW asked AS SELECT id, opened, CASE category WHEN 'art' THEN 'books' WHEN 'books' THEN 'coins' ELSE 'toys' END AS wanted
FROM auctions;
SELECT a.id, o.id FROM asked AS a JOIN openings FOR SYSTEM_TIME AS OF a.opened AS o ON a.wanted = o.category
-- duckdb
WITH asked AS (SELECT id, opened, CASE category WHEN 'art' THEN 'books' WHEN 'books' THEN 'coins' ELSE 'toys' END AS wanted FROM auctions)
SELECT a.id, o.id FROM asked AS a ASOF JOIN auctions AS o ON a.wanted = o.category AND a.opened >= o.opened
