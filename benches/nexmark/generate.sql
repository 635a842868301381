-- Writes the events of the generator as NDJSON, one object per event, into the folder `events`.
SET 'table.local-time-zone' = 'UTC';
SET 'parallelism.default' = '1';
SET 'execution.checkpointing.interval' = '10 min';

CREATE TABLE generated (
  event_type INT,
  person  ROW<id BIGINT, name STRING, emailAddress STRING, creditCard STRING, city STRING, state STRING,
              dateTime TIMESTAMP(3), extra STRING>,
  auction ROW<id BIGINT, itemName STRING, description STRING, initialBid BIGINT, reserve BIGINT,
              dateTime TIMESTAMP(3), expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING>,
  bid     ROW<auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING,
              dateTime TIMESTAMP(3), extra STRING>
) WITH (
  'connector'  = 'nexmark',
  'events.num' = '${EVENTS}',
  'tps'        = '${RATE}',
  'splits'     = '1'
);

CREATE TABLE events WITH (
  'connector' = 'filesystem',
  'path'      = 'events',
  'format'    = 'json',
  'json.encode.ignore-null-fields' = 'true',
  'sink.rolling-policy.file-size'  = '100gb'
) LIKE generated (EXCLUDING OPTIONS);

INSERT INTO events SELECT * FROM generated;
