-- Visits to a shop: a visit ends when a visitor does nothing for half an hour. What was ordered, per day and article.

SET 'table.local-time-zone' = 'UTC';

CREATE TABLE events (
  visitor ROW<id INT, country STRING>,
  `time`  TIMESTAMP(3),
  `order` ARRAY<ROW<article STRING, units INT, price DECIMAL(8, 2)>>,
  WATERMARK FOR `time` AS `time` - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'events.json', 'format' = 'json');

CREATE TABLE visits (
  visitor INT,
  begins  TIMESTAMP(3),
  minutes INT,
  events  BIGINT,
  orders  BIGINT
) WITH ('connector' = 'filesystem', 'path' = 'out/visits', 'format' = 'csv');

CREATE TABLE sales (
  `day`   DATE,
  country STRING,
  article STRING,
  units   BIGINT,
  revenue DECIMAL(38, 2)
) WITH ('connector' = 'filesystem', 'path' = 'out/sales', 'format' = 'csv');

CREATE VIEW actions AS SELECT e.visitor.id AS visitor, e.`time`, e.`order` FROM events AS e;

CREATE VIEW order_lines AS
SELECT e.`time`, e.visitor.country AS country, l.article, l.units, l.price
FROM events AS e CROSS JOIN UNNEST(e.`order`) AS l (article, units, price);

EXECUTE STATEMENT SET BEGIN

INSERT INTO visits
SELECT visitor, window_start, TIMESTAMPDIFF(MINUTE, window_start, window_end) - 30, COUNT(*), COUNT(`order`)
FROM TABLE(SESSION(TABLE actions PARTITION BY visitor, DESCRIPTOR(`time`), INTERVAL '30' MINUTE))
GROUP BY window_start, window_end, visitor;

INSERT INTO sales
SELECT CAST(window_start AS DATE), country, article, SUM(units), SUM(units * price)
FROM TABLE(TUMBLE(TABLE order_lines, DESCRIPTOR(`time`), INTERVAL '1' DAY))
GROUP BY window_start, window_end, country, article;

END;
