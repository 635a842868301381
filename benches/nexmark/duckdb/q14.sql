SELECT auction, bidder, 0.908::DECIMAL(3, 3) * price::DECIMAL(19, 0) AS euros,
       CASE WHEN hour(dateTime) BETWEEN 8 AND 18 THEN 'dayTime'
            WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'nightTime' ELSE 'otherTime' END,
       dateTime, extra, length(extra) - length(replace(extra, 'c', ''))
FROM bid WHERE euros > 1000000 AND euros < 50000000
