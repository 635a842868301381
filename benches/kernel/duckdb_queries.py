"""The same questions for DuckDB, which reads the same file with two threads and writes the same CSV."""
import sys
import time

import duckdb

READ = """read_json('bids.json', format = 'newline_delimited', columns = {
    auction: 'INTEGER', bidder: 'INTEGER', price: 'INTEGER', channel: 'VARCHAR', dateTime: 'TIMESTAMP'})"""

QUERIES = {
    "filter": f"SELECT auction, bidder, price FROM {READ} WHERE auction % 123 = 0",
    "tumble": f"""SELECT time_bucket(INTERVAL 10 SECONDS, dateTime) AS window_start, auction, count(*) FROM {READ}
        GROUP BY window_start, auction""",
    "hop": f"""SELECT window_start, channel, sum(n) FROM (
        SELECT time_bucket(INTERVAL 1 SECOND, dateTime) AS slice, channel, count(*) AS n FROM {READ} GROUP BY ALL),
        LATERAL (SELECT slice - to_seconds(i) AS window_start FROM range(10) AS t(i)) GROUP BY ALL""",
    "hop_keys": f"""SELECT window_start, auction, sum(n) FROM (
        SELECT time_bucket(INTERVAL 1 SECOND, dateTime) AS slice, auction, count(*) AS n FROM {READ} GROUP BY ALL),
        LATERAL (SELECT slice - to_seconds(i) AS window_start FROM range(10) AS t(i)) GROUP BY ALL""",
    "session": f"""SELECT min(dateTime), max(dateTime) + INTERVAL 10 SECONDS, bidder, count(*) FROM (
        SELECT *, sum(opens) OVER (PARTITION BY bidder ORDER BY dateTime ROWS UNBOUNDED PRECEDING) AS number FROM (
            SELECT bidder, dateTime, coalesce((dateTime - lag(dateTime) OVER (PARTITION BY bidder ORDER BY dateTime)
                > INTERVAL 10 SECONDS)::INT, 1) AS opens FROM {READ}))
        GROUP BY bidder, number""",
}


def main():
    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
    start = time.monotonic()
    connection.execute(f"COPY ({QUERIES[sys.argv[1]]}) TO 'duckdb.csv' (HEADER false)")
    print(f"{time.monotonic() - start:.3f}")


main()
