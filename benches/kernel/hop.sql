CREATE TABLE result (window_start TIMESTAMP(3), channel STRING, n BIGINT)
  WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO result SELECT window_start, channel, COUNT(*)
FROM TABLE(HOP(TABLE bids, DESCRIPTOR(dateTime), INTERVAL '1' SECOND, INTERVAL '10' SECOND))
GROUP BY window_start, window_end, channel;
