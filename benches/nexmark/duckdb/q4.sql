SELECT category, (sum(final) // count(*))::BIGINT FROM (SELECT id, category, max(price) AS final FROM valid_bid GROUP BY ALL)
GROUP BY category
