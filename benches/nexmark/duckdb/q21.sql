SELECT auction, bidder, price, channel,
       coalesce(MAP {'apple': '0', 'google': '1', 'facebook': '2', 'baidu': '3'}[lower(channel)],
                nullif(regexp_extract(url, '&channel_id=([^&]*)', 1), '')) AS channel_id
FROM bid WHERE channel_id IS NOT NULL
