"""Answers one query with DuckDB: its rows are added up to an answer, or handed over in batches and dropped."""

import duckdb

import answers
import worker

BATCH_ROWS = 100_000
THREADS = 2


def connect(asked):
    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}; SET TimeZone = 'UTC'")
    connection.execute(asked["setup"])
    return connection


def answer(asked):
    total = answers.empty_answer(asked["query"])
    result = connect(asked).execute(asked["sql"])
    while rows := result.fetchmany(BATCH_ROWS):
        for row in rows:
            total.add(row)
    return total.result()


def drop(asked):
    for _ in connect(asked).sql(asked["sql"]).to_arrow_reader(BATCH_ROWS):
        pass


def main():
    asked = worker.request()
    if asked["mode"] == "answer":
        worker.reply(answer(asked))
    else:
        worker.reply(worker.measured(lambda: drop(asked)))


main()
