-- Selection: the bids for some auctions.
-- columns: auction BIGINT, price BIGINT
SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0
