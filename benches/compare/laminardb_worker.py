"""Runs one query with LaminarDB inside this process. It reads no files: pyarrow parses them, a part at a time, and the rows
are inserted in order of time, no faster than the engine takes them. There is no end of input: the answer is there
when nothing more has come for a while, which is not counted.
"""

import time

import laminardb
import pyarrow.json

import answers
import worker

QUIET_SECONDS = 3.0
PENDING_BATCHES_MAX = 16
BLOCK_BYTES = 1 << 20
# Later than any event, so that every window closes.
FAR_MILLISECONDS = 1_704_067_200_000 + 86_400_000 * 365


def batches(folder, kinds):
    """The batches of all kinds, the one that begins earliest first."""
    options = pyarrow.json.ReadOptions(block_size=BLOCK_BYTES)
    readers = {kind: iter(pyarrow.json.open_json(f"{folder}/{kind}.json", read_options=options)) for kind in kinds}
    heads = {kind: next(reader, None) for kind, reader in readers.items()}
    while heads := {kind: batch for kind, batch in heads.items() if batch is not None}:
        kind = min(heads, key=lambda kind: heads[kind].column("datetime")[0].as_py())
        yield kind, heads[kind]
        heads[kind] = next(readers[kind], None)


class Run:
    def __init__(self, asked):
        self.asked, self.last = asked, time.monotonic()
        config = laminardb.LaminarConfig(storage_dir=asked["storage"], checkpoint_interval_ms=1000)
        self.connection = laminardb.open(":memory:", config=config)
        for statement in asked["statements"]:
            self.connection.execute(statement)
        self.connection.start()
        self.results = self.connection.subscribe_stream("answer")

    def drain(self, take):
        while (result := self.results.try_next()) is not None:
            if result.num_rows:
                self.last = time.monotonic()
                take(result)

    def to_end(self, take):
        for kind, batch in batches(self.asked["folder"], self.asked["kinds"]):
            self.connection.insert(kind, batch)
            self.drain(take)
            while self.connection.source_metrics(kind).pending > PENDING_BATCHES_MAX:
                time.sleep(0.001)
                self.drain(take)
            self.last = time.monotonic()
        for kind in self.asked["kinds"]:
            with self.connection.writer(kind) as writer:
                writer.watermark(FAR_MILLISECONDS)
        while time.monotonic() - self.last < QUIET_SECONDS:
            time.sleep(0.01)
            self.drain(take)


def answer(asked):
    """Rows of a query with a key replace the earlier ones of their key."""
    run, by_key, rows = Run(asked), {}, []
    keys = asked["key_columns"]

    def take(result):
        for row in result.to_arrow().to_pylist():
            values = list(row.values())
            if keys:
                by_key[tuple(values[index] for index in keys)] = values
            else:
                rows.append(values)

    run.to_end(take)
    total = answers.empty_answer(asked["query"])
    for values in [*by_key.values(), *rows]:
        total.add(values)
    return total.result()


def main():
    asked = worker.request()
    if asked["mode"] == "answer":
        worker.reply(answer(asked))
        return
    began, runs = time.monotonic(), []

    def run():
        runs.append(Run(asked))
        runs[0].to_end(lambda result: None)

    took = worker.measured(run)
    took["seconds"] = runs[0].last - began
    worker.reply(took)


main()
