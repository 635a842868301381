"""SQL that is right, in half of the requests that carry any: a text of any other letters hardly ever makes a job."""
import zlib

import schemathesis

SCRIPTS = (
    "CREATE TABLE s (id INT) WITH ('connector' = 'datagen', 'rows-per-second' = '10'); SELECT id FROM s",
    "CREATE TABLE s (id INT) WITH ('connector' = 'datagen', 'number-of-rows' = '10'); SELECT COUNT(*) FROM s",
    "CREATE TABLE r (k STRING, v INT) WITH ('connector' = 'http', 'format' = 'json'); SELECT k, SUM(v) FROM r GROUP BY k",
    "SELECT 1",
)


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("sql"), str):
        number = zlib.crc32(body["sql"].encode("utf-8", "replace"))
        if number % 2:
            body["sql"] = SCRIPTS[number // 2 % len(SCRIPTS)]
    return body
