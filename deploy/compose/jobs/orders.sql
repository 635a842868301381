-- Makes a hundred orders a second, for as long as the server runs.
CREATE TABLE made (id BIGINT, shop STRING, cents BIGINT, at TIMESTAMP_LTZ(3)) WITH (
  'connector' = 'datagen', 'rows-per-second' = '100', 'fields.id.kind' = 'sequence', 'fields.id.start' = '1',
  'fields.id.end' = '9000000000', 'fields.shop.values' = 'Bergen,Lyon,Porto', 'fields.cents.min' = '100', 'fields.cents.max' = '9999');

CREATE TABLE orders (id BIGINT, shop STRING, cents BIGINT, at TIMESTAMP_LTZ(3)) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'properties.bootstrap.servers' = 'kafka:9092', 'format' = 'json');

INSERT INTO orders SELECT id, shop, cents, at FROM made;
