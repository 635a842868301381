"""Answers queries with DuckDB, for tests that compare Tidemill's answers with it.

Reads {"setup": SQL, "queries": {name: SQL}} from standard input, runs in the current folder, and prints
{name: {"rows": [[value, ...], ...]} or {"error": text}}. Numbers keep their exact text: integers and decimals as
{"number": text}, floats as {"float": text}; times are written as SQL literals without trailing zeros.
"""

import datetime
import decimal
import json
import sys

import duckdb


def plain(value):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return {"number": str(value)}
    if isinstance(value, decimal.Decimal):
        return {"number": format(value, "f")}
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, datetime.datetime):
        return trimmed(value.strftime("%Y-%m-%d %H:%M:%S.%f"))
    if isinstance(value, datetime.time):
        return trimmed(value.strftime("%H:%M:%S.%f"))
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {"fields": {key: plain(item) for key, item in value.items()}}
    raise TypeError(f"a value of type {type(value)} has no plain form")


def trimmed(text):
    return text.rstrip("0").rstrip(".")


def answer(connection, sql):
    try:
        return {"rows": [[plain(value) for value in row] for row in connection.execute(sql).fetchall()]}
    except (duckdb.Error, TypeError) as problem:
        return {"error": str(problem)}


def main():
    request = json.load(sys.stdin)
    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
    connection.execute(request["setup"])
    json.dump({name: answer(connection, sql) for name, sql in request["queries"].items()}, sys.stdout)


main()
