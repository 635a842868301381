"""Tidemill: the whole process is measured, its start and planning included."""

import os
import shutil
import subprocess

import flat_events
import processes
from engines.engine import HERE, NEXMARK, Engine

PARALLELISM = 2
CHECKPOINT_INTERVAL = "1 s"


def change_of(line):
    return line["data"], 1 if line["op"] in ("+I", "+U") else -1


class Tidemill(Engine):
    name, title = "tidemill", "Tidemill"

    def prepare(self):
        self.program = os.environ["TIDEMILL_BIN"]
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True)
        return said.stdout.strip()

    def configuration(self):
        return {"instances per operator": PARALLELISM, "checkpoint interval": CHECKPOINT_INTERVAL, "memory budget": "default"}

    def tables(self):
        """What the queries read."""
        events = (NEXMARK / "tables.sql").read_text().replace("'events.json'", f"'{self.events}'")
        return events + (NEXMARK / "views.sql").read_text()

    def script(self, query, options, with_key):
        key = f", PRIMARY KEY ({query['key']}) NOT ENFORCED" if query["key"] and with_key else ""
        return "\n".join([
            "SET 'table.local-time-zone' = 'UTC';",
            "SET 'restart-strategy.type' = 'none';",
            f"SET 'execution.checkpointing.interval' = '{CHECKPOINT_INTERVAL}';",
            self.tables(),
            f"CREATE TABLE result ({query['columns']}{key}) WITH ({options});",
            f"INSERT INTO result\n{query['sql']};",
        ])

    def run(self, script, limit_seconds):
        job = self.folder / "job.sql"
        job.write_text(script)
        state = self.folder / "state"
        shutil.rmtree(state, ignore_errors=True)
        command = [self.program, "run", job, "--quiet", "--state-dir", state, "-p", str(PARALLELISM)]
        return processes.run(command, self.folder / "log", limit_seconds, cwd=self.folder)

    def answer(self, query, limit_seconds):
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        format_name = "changelog-json" if query["key"] else "json"
        options = f"'connector' = 'filesystem', 'path' = '{out}', 'format' = '{format_name}'"
        self.run(self.script(query, options, False), limit_seconds)
        return self.folded(query, out, change_of)

    def timed(self, query, limit_seconds):
        return self.run(self.script(query, "'connector' = 'blackhole'", True), limit_seconds)


class TidemillFlat(Tidemill):
    """The same queries over the files that clink reads. Not of the comparison, since the other engines read all events."""

    name, title, by_default = "tidemill-flat", "Tidemill (flat files)", False

    def prepare(self):
        self.flat = flat_events.write(self.events)
        return super().prepare()

    def tables(self):
        return (HERE / "tidemill_flat.sql").read_text().replace("${FOLDER}", str(self.flat))
