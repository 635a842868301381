"""clink, by its Python package: the engine inside one process, with RocksDB and a checkpoint every second."""

import json
import shutil

import answers
import flat_events
import installed
from engines.engine import HERE, CannotSay, Engine

VERSION = "0.12.2"
KINDS = {"STRING": "VARCHAR", "TIMESTAMP(3)": "BIGINT", "TIMESTAMP_LTZ(3)": "BIGINT"}
TAKES_BACK = ("delete", "update_before")


class Clink(Engine):
    name, title = "clink", "clink"

    def prepare(self):
        self.python = installed.environment(f"pyclink-{VERSION}", [f"pyclink=={VERSION}", installed.PYARROW])
        self.flat = flat_events.write(self.events)
        return VERSION

    def configuration(self):
        return {
            "parallelism": "1 (a file read by two instances is counted twice in this version)", "state": "rocksdb",
            "checkpoint interval": "1 s", "watermark lag": "4 s", "events": "a flat file per kind, times as numbers",
        }

    def run(self, query, connector, extra, limit_seconds):
        text = (HERE / "clink" / f"{query['name']}.sql").read_text()
        if text.startswith("-- cannot: "):
            raise CannotSay(text.removeprefix("-- cannot: ").strip())
        if text.startswith("-- sink: changelog") and extra is not None:
            extra = ", changelog='true'"
        elif query["key"] and extra is not None:
            extra = f", mode='upsert', primary_key='{query['key'].replace('`', '').replace(' ', '')}'"
        names, kinds = answers.columns_of(query["columns"])
        columns = ", ".join(f"{name.lower()} {KINDS.get(kind, kind)}" for name, kind in zip(names, kinds))
        body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
        tables = (HERE / "clink" / "tables.sql").read_text().replace("${FOLDER}", str(self.flat))
        tables = "\n".join(line for line in tables.splitlines() if not line.startswith("--"))
        script = f"{tables}\nCREATE TABLE answer ({columns}) WITH ({connector}{extra or ''});\nINSERT INTO answer {body};"
        for name in ("state", "checkpoints"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        options = {
            "parallelism": 1, "state_backend_uri": f"rocksdb://{self.folder}/state", "checkpoint_dir": str(self.folder / "checkpoints"),
            "checkpoint_interval_ms": 1000, "fresh": True,
        }
        return self.ask_worker(self.python, "clink_worker.py", {"script": script, "options": options}, limit_seconds)

    def answer(self, query, limit_seconds):
        out = self.folder / "out.json"
        out.unlink(missing_ok=True)
        self.run(query, f"connector='file', format='json', path='{out}'", "", limit_seconds)
        names = [name.lower() for name in answers.columns_of(query["columns"])[0]]
        total = answers.empty_answer(query)
        with open(out, encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line, parse_float=str)
                total.add([row.get(name) for name in names], -1 if row.get("__row_kind") in TAKES_BACK else 1)
        out.unlink()
        return total.result()

    def timed(self, query, limit_seconds):
        return self.run(query, "connector='blackhole'", None, limit_seconds)
