-- Live windows over a generated stream: what each machine drew in every second, with the share of readings over 90 watts.
-- The stream needs no broker and no network. It ends by itself after 20 seconds; Ctrl-C ends it earlier.

CREATE TABLE readings (
  machine STRING,
  watts   DOUBLE,
  ts      TIMESTAMP_LTZ(3),
  WATERMARK FOR ts AS ts - INTERVAL '0.2' SECOND
) WITH (
  'connector'             = 'datagen',
  'rows-per-second'       = '200',
  'number-of-rows'        = '4000',
  'fields.machine.values' = 'press,lathe,robot',
  'fields.watts.min'      = '20',
  'fields.watts.max'      = '100'
);

SELECT
  window_start,
  machine,
  COUNT(*)                                      AS readings,
  ROUND(AVG(watts), 1)                          AS watts_avg,
  ROUND(MAX(watts), 1)                          AS watts_max,
  COUNT(*) FILTER (WHERE watts > 90) * 100 / COUNT(*) AS percent_high
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '1' SECOND))
GROUP BY window_start, window_end, machine;
