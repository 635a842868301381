CREATE TABLE result (auction INT, bidder INT, price INT)
  WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO result SELECT auction, bidder, price FROM bids WHERE MOD(auction, 123) = 0;
