-- Records of 200 bytes of JSON; the words in capitals are filled in by run.sh.
CREATE TABLE made (
  id BIGINT, customer INT, amount INT, sent TIMESTAMP(3), note STRING
) WITH (
  'connector' = 'datagen', 'number-of-rows' = 'ROWS', 'rows-per-second' = 'RATE',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = 'ROWS',
  'fields.customer.min' = '1', 'fields.customer.max' = '10000',
  'fields.amount.min' = '1', 'fields.amount.max' = '1000',
  'fields.sent.kind' = 'sequence', 'fields.sent.start' = '2024-01-01 00:00:00', 'fields.sent.step' = 'STEP',
  'fields.note.length' = '96'
);

CREATE TABLE orders (
  id BIGINT, customer INT, amount INT, sent TIMESTAMP(3), note STRING,
  written TIMESTAMP_LTZ(3) METADATA FROM 'timestamp',
  WATERMARK FOR sent AS sent - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kafka', 'topic' = 'ORDERS', 'properties.bootstrap.servers' = 'BROKERS',
  'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',
  'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'BOUNDED', 'sink.delivery-guarantee' = 'at-least-once'
);
