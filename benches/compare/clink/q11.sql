SELECT bidder, COUNT(*) AS bid_count, window_start AS starttime, window_end AS endtime
FROM bid GROUP BY SESSION(datetime, INTERVAL '10' SECOND), bidder
