-- Functions on doubles.
-- columns: id BIGINT, root DOUBLE, curve DOUBLE, grown DOUBLE, logged DOUBLE, wave DOUBLE, low DOUBLE, high DOUBLE, side DOUBLE
-- tidemill
SELECT id, SQRT(ABS(score)), POWER(score, 3), EXP(score / 10), LN(ABS(score) + 1), SIN(score) + COS(score),
  FLOOR(score), CEIL(score), SIGN(score)
FROM bids
-- duckdb
SELECT id, sqrt(abs(score)), power(score, 3), exp(score / 10), ln(abs(score) + 1), sin(score) + cos(score),
  floor(score), ceil(score), sign(score)
FROM bids
