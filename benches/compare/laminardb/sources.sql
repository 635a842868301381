CREATE SOURCE person (id BIGINT, name VARCHAR, emailaddress VARCHAR, creditcard VARCHAR, city VARCHAR, state VARCHAR, datetime BIGINT, extra VARCHAR,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND);
CREATE SOURCE auction (id BIGINT, itemname VARCHAR, description VARCHAR, initialbid BIGINT, reserve BIGINT, datetime BIGINT, expires BIGINT, seller BIGINT,
  category BIGINT, extra VARCHAR, WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND);
CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, datetime BIGINT, extra VARCHAR,
  WATERMARK FOR datetime AS datetime - INTERVAL '4' SECOND)
