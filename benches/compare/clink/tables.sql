-- The three kinds of events from files of their own; names are lower case, times are milliseconds since 1970.
CREATE TABLE person (id BIGINT, name VARCHAR, emailaddress VARCHAR, creditcard VARCHAR, city VARCHAR, state VARCHAR, datetime BIGINT, extra VARCHAR)
  WITH (connector='file', format='json', path='${FOLDER}/person.json', event_time_column='datetime', watermark_lag_ms='4000');
CREATE TABLE auction (id BIGINT, itemname VARCHAR, description VARCHAR, initialbid BIGINT, reserve BIGINT, datetime BIGINT, expires BIGINT, seller BIGINT, category BIGINT, extra VARCHAR)
  WITH (connector='file', format='json', path='${FOLDER}/auction.json', event_time_column='datetime', watermark_lag_ms='4000');
CREATE TABLE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, datetime BIGINT, extra VARCHAR)
  WITH (connector='file', format='json', path='${FOLDER}/bid.json', event_time_column='datetime', watermark_lag_ms='4000');
