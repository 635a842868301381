"""LaminarDB, by its Python package: the engine inside one process, rows inserted by the worker."""

import re
import shutil

import answers
import flat_events
import installed
from engines.engine import HERE, CannotSay, Engine

VERSION = "0.17.0"


class LaminarDB(Engine):
    name, title = "laminardb", "LaminarDB"

    def prepare(self):
        self.python = installed.environment(f"laminardb-{VERSION}", [f"laminardb=={VERSION}", installed.PYARROW])
        self.flat = flat_events.write(self.events)
        return VERSION

    def configuration(self):
        return {
            "parallelism": "1", "checkpoint interval": "1 s", "watermark lag": "4 s",
            "events": "a flat file per kind, times as numbers, parsed by pyarrow in the same process and inserted in order of time",
        }

    def asked(self, query, mode):
        texts = HERE / "laminardb"
        text = (texts / f"{query['name']}.sql").read_text()
        if text.startswith("-- cannot: "):
            raise CannotSay(text.removeprefix("-- cannot: ").strip())
        tables = set(re.findall(r"(?:FROM|JOIN) (\w+)", text))
        kinds = [kind for kind in flat_events.KINDS if kind in tables]
        sources = (texts / "sources.sql").read_text().split(";")
        sources = [source for source in sources if any(f"SOURCE {kind} " in source for kind in kinds)]
        # Rows behind the watermark of a source are dropped: only windows need one.
        if not any(window in text for window in ("TUMBLE(", "HOP(", "SESSION(")):
            sources = [re.sub(r",\s*WATERMARK [^)]*", "", source) for source in sources]
        names = answers.columns_of(query["columns"])[0]
        keys = [name.strip(" `") for name in (query["key"] or "").split(",") if name]
        storage = self.folder / "storage"
        shutil.rmtree(storage, ignore_errors=True)
        return {
            "mode": mode, "query": query, "folder": str(self.flat), "storage": str(storage), "kinds": kinds,
            "statements": [*sources, f"CREATE STREAM answer AS {text}"], "key_columns": [names.index(name) for name in keys],
        }

    def answer(self, query, limit_seconds):
        return self.ask_worker(self.python, "laminardb_worker.py", self.asked(query, "answer"), limit_seconds)

    def timed(self, query, limit_seconds):
        return self.ask_worker(self.python, "laminardb_worker.py", self.asked(query, "time"), limit_seconds)
