-- Pass through: every bid as it is.
-- columns: auction BIGINT, bidder BIGINT, price BIGINT, dateTime TIMESTAMP(3), extra STRING
SELECT auction, bidder, price, dateTime, extra FROM bid
