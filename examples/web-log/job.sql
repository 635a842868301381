-- A web server's log, line by line: what every ten minutes answered, in one folder per day.

SET 'table.local-time-zone' = 'UTC';

CREATE TABLE access_log (
  line STRING,
  ts   AS TO_TIMESTAMP(REGEXP_EXTRACT(line, '\[([^ ]+) ', 1), 'dd/MMM/yyyy:HH:mm:ss'),
  WATERMARK FOR ts AS ts
) WITH ('connector' = 'filesystem', 'path' = 'access.log', 'format' = 'raw');

CREATE VIEW requests AS
SELECT
  ts,
  REGEXP_EXTRACT(line, '"GET ([^ ?]*)', 1)               AS page,
  CAST(REGEXP_EXTRACT(line, '" (\d{3}) ', 1) AS INT)     AS status,
  TRY_CAST(REGEXP_EXTRACT(line, ' (\d+)$', 1) AS BIGINT) AS size
FROM access_log;

CREATE TABLE pages (
  until      TIMESTAMP(3),
  page       STRING,
  hits       BIGINT,
  errors     BIGINT,
  size_total BIGINT,
  `day`      STRING
) PARTITIONED BY (`day`) WITH ('connector' = 'filesystem', 'path' = 'out/pages', 'format' = 'json');

INSERT INTO pages
SELECT window_end, page, COUNT(*), COUNT(*) FILTER (WHERE status >= 400), SUM(size), DATE_FORMAT(window_start, 'yyyy-MM-dd')
FROM TABLE(TUMBLE(TABLE requests, DESCRIPTOR(ts), INTERVAL '10' MINUTE))
GROUP BY window_start, window_end, page;
