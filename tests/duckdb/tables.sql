-- The inputs, as each of the two sees them.
-- tidemill
SET 'table.local-time-zone' = 'UTC';
SET 'restart-strategy.type' = 'none';
CREATE TABLE bids (
  id       BIGINT,
  bidder   ROW<id BIGINT, name STRING, address ROW<city STRING, zip STRING>>,
  item     STRING,
  price    DECIMAL(12, 2),
  score    DOUBLE,
  quantity INT,
  tags     ARRAY<STRING>,
  lines    ARRAY<ROW<sku STRING, units INT>>,
  active   BOOLEAN,
  note     STRING,
  ts       TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json', 'source.split.size' = '300kb');
CREATE TABLE auctions (
  id       BIGINT,
  category STRING,
  seller   STRING,
  reserve  DECIMAL(10, 3),
  rating   DOUBLE,
  opened   TIMESTAMP(3),
  `day`    DATE,
  `at`     TIME,
  WATERMARK FOR opened AS opened - INTERVAL '1' HOUR
) WITH ('connector' = 'filesystem', 'path' = 'auctions.csv', 'format' = 'csv', 'csv.header' = 'true', 'csv.null-literal' = '');
CREATE TABLE trades (
  id      BIGINT,
  symbol  STRING,
  price   DOUBLE,
  amount  DECIMAL(12, 2),
  volume  INT,
  tags    ARRAY<STRING>,
  traded  TIMESTAMP(6),
  at_ms   AS CAST(traded AS TIMESTAMP(3)),
  WATERMARK FOR at_ms AS at_ms - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'trades.parquet', 'format' = 'parquet');
-- duckdb
CREATE TABLE bids AS SELECT * FROM read_json('bids/*.json', format = 'newline_delimited', columns = {
  id: 'BIGINT', bidder: 'STRUCT(id BIGINT, name VARCHAR, address STRUCT(city VARCHAR, zip VARCHAR))', item: 'VARCHAR',
  price: 'DECIMAL(12, 2)', score: 'DOUBLE', quantity: 'INTEGER', tags: 'VARCHAR[]',
  lines: 'STRUCT(sku VARCHAR, units INTEGER)[]', active: 'BOOLEAN', note: 'VARCHAR', ts: 'TIMESTAMP'});
CREATE TABLE auctions AS SELECT * FROM read_csv('auctions.csv', header = true, columns = {
  id: 'BIGINT', category: 'VARCHAR', seller: 'VARCHAR', reserve: 'DECIMAL(10, 3)', rating: 'DOUBLE',
  opened: 'TIMESTAMP', "day": 'DATE', "at": 'TIME'});
CREATE TABLE trades AS SELECT id, item AS symbol, score AS price, price AS amount, quantity AS volume, tags,
  ts + to_microseconds(id % 1000) AS traded FROM bids;
COPY (SELECT * FROM trades ORDER BY traded + to_seconds(id % 4), id) TO 'trades.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2048);
-- The start of the window of that many milliseconds that a time falls into.
CREATE MACRO bucket(t, width_ms) AS make_timestamp(epoch_us(t) - epoch_us(t) % (width_ms * 1000)::BIGINT);
