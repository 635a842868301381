"""What each engine offers to the comparison."""

import json
import pathlib
import shutil

import answers
import processes

HERE = pathlib.Path(__file__).resolve().parent.parent
NEXMARK = HERE.parent / "nexmark"


class CannotSay(Exception):
    """An engine has no way to ask this query: the text says why."""


class Engine:
    """`prepare` once; per query `open`, one `answer`, any number of `timed`; `finish` at the end."""

    name = title = ""
    # Whether it runs unless engines are named.
    by_default = True

    def __init__(self, work, events):
        self.folder = work / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.events = events

    def prepare(self):
        """Installs the engine and returns its version; raises `installed.NotRun`."""

    def configuration(self):
        """How the engine was set, for readers."""
        return {}

    def open(self, query):
        """Starts what runs for more than one run, where it does not run yet."""

    def finish(self):
        """Ends what `open` started, after the last query."""

    def answer(self, query, limit_seconds):
        """The answer to a query as `{rows, checksum}`."""
        raise NotImplementedError

    def timed(self, query, limit_seconds):
        """One run with its result thrown away: `{seconds, processor_seconds, peak_bytes}`."""
        raise NotImplementedError

    def folded(self, query, out, change_of):
        """The answer in the files of JSON lines in the folder `out`, which goes. For a query with a key each line is a change, of which
        `change_of` gives the row and what it weighs."""
        total, names = answers.empty_answer(query), answers.columns_of(query["columns"])[0]
        for part in sorted(out.glob("part-*")):
            with open(part, encoding="utf-8") as lines:
                for line in lines:
                    row = json.loads(line, parse_float=str)
                    row, weight = change_of(row) if query["key"] else (row, 1)
                    total.add([row.get(name) for name in names], weight)
        shutil.rmtree(out, ignore_errors=True)
        return total.result()

    def ask_worker(self, python, script, asked, limit_seconds):
        """Runs a worker in a process of its own and returns its reply."""
        request, reply = self.folder / "request.json", self.folder / "reply.json"
        request.write_text(json.dumps(asked))
        reply.unlink(missing_ok=True)
        processes.run([python, HERE / script, request, reply], self.folder / "log", limit_seconds, cwd=self.folder)
        return json.loads(reply.read_text())
