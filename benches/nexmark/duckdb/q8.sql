SELECT DISTINCT p.id, p.name, make_timestamp(epoch_us(p.dateTime) // 10000000 * 10000000)
FROM person p JOIN auction a
ON p.id = a.seller AND epoch_us(p.dateTime) // 10000000 = epoch_us(a.dateTime) // 10000000
