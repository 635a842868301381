"""Runs one script with clink inside this process, from the opening of the engine until its job has ended."""

import pyclink

import worker


def main():
    asked = worker.request()

    def run():
        with pyclink.Engine(**asked["options"]) as engine:
            engine.execute(asked["script"])
            engine.await_all()

    worker.reply(worker.measured(run))


main()
