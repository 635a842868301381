"""DuckDB: a batch engine, which knows all rows before it answers and keeps nothing for later. The limit, not a peer."""

import installed
from engines.engine import NEXMARK, Engine

VERSION = "2.0.0"


class DuckDB(Engine):
    name, title = "duckdb", "DuckDB (batch)"

    def prepare(self):
        self.python = installed.environment(f"duckdb-{VERSION}", [f"duckdb=={VERSION}", installed.PYARROW])
        return VERSION

    def configuration(self):
        return {"threads": 2, "checkpoints": "none: batch", "events": "read from the file by each query"}

    def asked(self, query, mode):
        setup = (NEXMARK / "duckdb" / "tables.sql").read_text().replace("'events.json'", f"'{self.events}'")
        sql = (NEXMARK / "duckdb" / f"{query['name']}.sql").read_text()
        # What is read once is not stored first.
        if not reads_twice(sql):
            setup = setup.replace("CREATE TABLE events", "CREATE VIEW events")
        return {"mode": mode, "setup": setup, "sql": sql, "query": query}

    def answer(self, query, limit_seconds):
        return self.ask_worker(self.python, "duckdb_worker.py", self.asked(query, "answer"), limit_seconds)

    def timed(self, query, limit_seconds):
        return self.ask_worker(self.python, "duckdb_worker.py", self.asked(query, "time"), limit_seconds)


def reads_twice(sql):
    """Whether a query names more than one table, `valid_bid` being a join: the names after FROM and JOIN."""
    words = sql.replace("(", " ").replace(")", " ").replace(",", " ").split()
    tables = [word for before, word in zip(words, words[1:]) if before.upper() in ("FROM", "JOIN")]
    return "valid_bid" in tables or sum(word in ("bid", "auction", "person") for word in tables) > 1
