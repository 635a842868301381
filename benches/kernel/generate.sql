-- Bids of the Nexmark kind, the same ones at every run: 10,000 auctions, 10,000 events per second of event time.
SET 'table.local-time-zone' = 'UTC';
SET 'parallelism.default' = '1';
SET 'execution.checkpointing.interval' = '10 min';

CREATE TABLE generated (
  id      BIGINT,
  auction INT,
  bidder  INT,
  price   INT,
  channel STRING,
  extra   STRING
) WITH (
  'connector'            = 'datagen',
  'rows-per-second'      = '100000000',
  'number-of-rows'       = '10000000',
  'fields.id.kind'       = 'sequence',
  'fields.id.start'      = '0',
  'fields.id.end'        = '9999999',
  'fields.auction.min'   = '0',
  'fields.auction.max'   = '9999',
  'fields.bidder.min'    = '0',
  'fields.bidder.max'    = '99999',
  'fields.price.min'     = '1',
  'fields.price.max'     = '100000',
  'fields.channel.values' = 'Google,Facebook,Baidu,Apple,channel-17,channel-4711',
  'fields.extra.length'  = '24'
);

CREATE TABLE bids (
  event_type STRING,
  auction    INT,
  bidder     INT,
  price      INT,
  channel    STRING,
  url        STRING,
  dateTime   TIMESTAMP(3),
  extra      STRING
) WITH (
  'connector' = 'filesystem',
  'path'      = 'bids',
  'format'    = 'json',
  'sink.rolling-policy.file-size' = '100gb'
);

INSERT INTO bids
SELECT 'bid', auction, bidder, price, channel,
       'https://www.nexmark.com/' || channel || '/item.htm?query=1&channel_id=' || CAST(bidder AS STRING),
       CAST(TO_TIMESTAMP_LTZ(1704067200000 + id / 10, 3) AS TIMESTAMP(3)),
       extra
FROM generated;
