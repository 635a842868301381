-- 20,000 orders, the same ones at every run.
CREATE TABLE made (id BIGINT, shop STRING, cents BIGINT) WITH (
  'connector' = 'datagen', 'number-of-rows' = '20000', 'rows-per-second' = '100000',
  'fields.id.kind' = 'sequence', 'fields.id.start' = '1', 'fields.id.end' = '20000',
  'fields.shop.values' = 'Bergen,Lyon,Porto', 'fields.cents.min' = '100', 'fields.cents.max' = '9999');

CREATE TABLE orders (id BIGINT, shop STRING, cents BIGINT) WITH (
  'connector' = 'kafka', 'topic' = 'orders', 'properties.bootstrap.servers' = 'localhost:29092', 'format' = 'json');

INSERT INTO orders SELECT * FROM made;
