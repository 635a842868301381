-- The three kinds of events from files of their own, as clink reads them: names are lower case, times are milliseconds since 1970.
CREATE TABLE person_file (
  id BIGINT, name STRING, emailaddress STRING, creditcard STRING, city STRING, state STRING, datetime BIGINT, extra STRING,
  ts AS CAST(TO_TIMESTAMP_LTZ(datetime, 3) AS TIMESTAMP(3)),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${FOLDER}/person.json', 'format' = 'json');
CREATE TABLE auction_file (
  id BIGINT, itemname STRING, description STRING, initialbid BIGINT, reserve BIGINT, datetime BIGINT, expires BIGINT,
  seller BIGINT, category BIGINT, extra STRING,
  ts AS CAST(TO_TIMESTAMP_LTZ(datetime, 3) AS TIMESTAMP(3)),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${FOLDER}/auction.json', 'format' = 'json');
CREATE TABLE bid_file (
  auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, datetime BIGINT, extra STRING,
  ts AS CAST(TO_TIMESTAMP_LTZ(datetime, 3) AS TIMESTAMP(3)),
  WATERMARK FOR ts AS ts - INTERVAL '4' SECOND
) WITH ('connector' = 'filesystem', 'path' = '${FOLDER}/bid.json', 'format' = 'json');

CREATE VIEW person AS
SELECT id, name, emailaddress AS emailAddress, creditcard AS creditCard, city, state, ts AS dateTime, extra FROM person_file;

CREATE VIEW auction AS
SELECT id, itemname AS itemName, description, initialbid AS initialBid, reserve, ts AS dateTime,
       CAST(TO_TIMESTAMP_LTZ(expires, 3) AS TIMESTAMP(3)) AS expires, seller, category, extra
FROM auction_file;

CREATE VIEW bid AS SELECT auction, bidder, price, channel, url, ts AS dateTime, extra FROM bid_file;

-- For windows of the machine's clock.
CREATE VIEW bid_now AS SELECT *, PROCTIME() AS p_time FROM bid;
