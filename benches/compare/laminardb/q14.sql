SELECT auction, bidder, euros AS price,
       CASE WHEN h >= 8 AND h <= 18 THEN 'dayTime' WHEN h <= 6 OR h >= 20 THEN 'nightTime' ELSE 'otherTime' END AS bidtimetype,
       datetime, extra, CHAR_LENGTH(extra) - CHAR_LENGTH(REPLACE(extra, 'c', '')) AS c_counts
FROM (SELECT auction, bidder, CAST(0.908 AS DECIMAL(3, 3)) * CAST(price AS DECIMAL(19, 0)) AS euros, datetime, extra,
             EXTRACT(HOUR FROM to_timestamp_millis(datetime)) AS h FROM bid) AS b
WHERE euros > 1000000 AND euros < 50000000
