-- Hourly figures of a machine's temperature, and for every hour how far it lies from the 23 hours before it.

SET 'table.local-time-zone' = 'UTC';

CREATE TABLE readings (
  `timestamp` TIMESTAMP(3),
  `value`     DOUBLE,
  WATERMARK FOR `timestamp` AS `timestamp` - INTERVAL '1' HOUR
) WITH ('connector' = 'filesystem', 'path' = 'readings.csv', 'format' = 'csv', 'csv.header' = 'true');

CREATE TABLE hourly (
  hour_start TIMESTAMP(3),
  readings   BIGINT,
  mean       DOUBLE,
  lowest     DOUBLE,
  highest    DOUBLE
) WITH ('connector' = 'filesystem', 'path' = 'out/hourly', 'format' = 'csv');

CREATE TABLE deviations (
  hour_end     TIMESTAMP(3),
  hour_mean    DOUBLE,
  usual_mean   DOUBLE,
  usual_stddev DOUBLE,
  flagged      BOOLEAN
) WITH ('connector' = 'filesystem', 'path' = 'out/deviations', 'format' = 'csv');

-- Each day that ends with a full hour, split into its last hour and what was usual before.
CREATE VIEW days AS
SELECT
  window_end AS hour_end,
  AVG(`value`)         FILTER (WHERE `timestamp` >= window_end - INTERVAL '1' HOUR) AS hour_mean,
  AVG(`value`)         FILTER (WHERE `timestamp` <  window_end - INTERVAL '1' HOUR) AS usual_mean,
  STDDEV_SAMP(`value`) FILTER (WHERE `timestamp` <  window_end - INTERVAL '1' HOUR) AS usual_stddev
FROM TABLE(HOP(TABLE readings, DESCRIPTOR(`timestamp`), INTERVAL '1' HOUR, INTERVAL '24' HOUR))
GROUP BY window_start, window_end;

EXECUTE STATEMENT SET BEGIN

INSERT INTO hourly
SELECT window_start, COUNT(*), ROUND(AVG(`value`), 3), MIN(`value`), MAX(`value`)
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(`timestamp`), INTERVAL '1' HOUR))
GROUP BY window_start, window_end;

INSERT INTO deviations
SELECT hour_end, ROUND(hour_mean, 3), ROUND(usual_mean, 3), ROUND(usual_stddev, 3),
  COALESCE(ABS(hour_mean - usual_mean) > 3 * usual_stddev, FALSE)
FROM days
WHERE hour_mean IS NOT NULL;

END;
