SELECT auction, bidder, price, channel, channel_id
FROM (SELECT auction, bidder, price, channel,
             CASE LOWER(channel) WHEN 'apple' THEN '0' WHEN 'google' THEN '1' WHEN 'facebook' THEN '2' WHEN 'baidu' THEN '3'
                  ELSE array_element(regexp_match(url, '(&|^)channel_id=([^&]*)'), 2) END AS channel_id FROM bid) AS named
WHERE channel_id IS NOT NULL
