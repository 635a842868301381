"""Runs every Nexmark query on every engine over the same events: checks the answers first, then measures in turn."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True

import engines  # noqa: E402
import installed  # noqa: E402
import processes  # noqa: E402
import report  # noqa: E402
from engines.engine import NEXMARK, CannotSay  # noqa: E402

# What answers are compared with, where it ran: the first of these.
JUDGES = ("duckdb", "tidemill")


def arguments():
    parser = argparse.ArgumentParser(prog="benches/compare/run.sh", description=__doc__)
    parser.add_argument("folder", type=pathlib.Path, help="everything is made below it")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3, help="measured runs of each query on each engine; medians are shown")
    parser.add_argument("--engines", default=",".join(name for name, engine in engines.ALL.items() if engine.by_default))
    parser.add_argument("--queries", default="")
    parser.add_argument("--limit", type=int, default=900, help="seconds that one run may take")
    parser.add_argument("--note", default="", help="what readers should know of the machine, such as other work on it")
    parser.add_argument("--add", action="store_true", help="keep what results.json in the folder says of other engines and queries")
    parser.add_argument("--keep", action="store_true", help="keep the engines' folders with their logs")
    asked = parser.parse_args()
    unknown = [name for name in asked.engines.split(",") if name not in engines.ALL]
    if unknown:
        parser.error(f"no engine {', '.join(unknown)}; there are {', '.join(engines.ALL)}")
    return asked


def query_of(path):
    text = path.read_text()
    of_header = {name: re.search(rf"^-- {name}: (.*)$", text, re.M) for name in ("columns", "key")}
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return {
        "name": path.stem,
        "columns": of_header["columns"].group(1),
        "key": of_header["key"].group(1) if of_header["key"] else None,
        "sql": "\n".join(lines),
    }


def queries(asked):
    paths = sorted((NEXMARK / "queries").glob("*.sql"), key=lambda path: int(path.stem[1:]))
    names = asked.queries.split(",") if asked.queries else [path.stem for path in paths]
    missing = set(names) - {path.stem for path in paths}
    if missing:
        sys.exit(f"no query {', '.join(sorted(missing))} in {NEXMARK / 'queries'}")
    return [query_of(path) for path in paths if path.stem in names]


def events_file(work, events):
    """The events of the built-in generator: the same at every run."""
    folder = work / f"events-{events}"
    file, done = folder / "events.json", folder / "done"
    if not done.exists():
        print(f"making {events} events", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([NEXMARK / "generate.sh", folder, str(events)], check=True, stdout=sys.stderr)
        done.touch()
    return file


def prepared(asked, work, events):
    """The engines that can run here, and what each says about itself."""
    ready, about = [], {}
    for name in asked.engines.split(","):
        engine = engines.ALL[name](work, events)
        about[name] = {"title": engine.title}
        try:
            about[name]["version"] = engine.prepare()
            about[name]["configuration"] = engine.configuration()
            ready.append(engine)
        except installed.NotRun as problem:
            about[name]["not run"] = str(problem)
            print(f"{engine.title}: NOT RUN: {problem}", file=sys.stderr)
    return ready, about


def attempt(work, found):
    """Runs `work`; what kept it from an end goes into `found`."""
    try:
        return work()
    except CannotSay as problem:
        found["status"], found["reason"] = "cannot say", str(problem)
    except processes.TimeLimit as problem:
        found["status"], found["reason"] = "time limit", str(problem)
    except (processes.Failed, OSError, ValueError, KeyError, TypeError) as problem:
        found["status"], found["reason"] = "failed", f"{problem}" or type(problem).__name__
    return None


def judge(of_engines):
    """Marks each answer as equal or as different from the judge's."""
    answered = {engine: found for engine, found in of_engines.items() if found.get("answer")}
    name = next((name for name in JUDGES if name in answered), None)
    expected = answered[name]["answer"] if name else None
    for engine, result in answered.items():
        answer = result["answer"]
        if name is None or len(answered) == 1:
            result["status"], result["reason"] = "not compared", "no other engine answered"
            continue
        result["status"] = "equal" if answer == expected else "differs"
        if answer != expected:
            other = "the same number of rows, other values"
            result["reason"] = other if answer["rows"] == expected["rows"] else f"{answer['rows']} rows, {name} has {expected['rows']}"
        print(f"  {engine}: {result['status']}, {result.get('reason', answer['rows'])}", file=sys.stderr)


def measure(query, ready, asked, of_engines):
    """One query on all engines: answers first, which also warms up, then runs in turn."""
    of_engines.update({engine.name: {} for engine in ready})
    for engine in ready:
        found = of_engines[engine.name]
        attempt(lambda engine=engine: engine.open(query), found)
        if "status" not in found:
            found["answer"] = attempt(lambda engine=engine: engine.answer(query, asked.limit), found)
        if "status" in found:
            print(f"  {engine.name}: {found['status']}: {found['reason']}", file=sys.stderr)
    judge(of_engines)
    for _ in range(asked.runs):
        for engine in ready:
            found = of_engines[engine.name]
            if found.get("status") == "equal":
                run = attempt(lambda engine=engine: engine.timed(query, asked.limit), found)
                if run:
                    found.setdefault("runs", []).append(run)
    for engine in ready:
        found = of_engines[engine.name]
        if found.get("runs"):
            found["median"] = {key: statistics.median(run[key] for run in found["runs"]) for key in found["runs"][0]}


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    with open("/proc/meminfo", encoding="ascii") as lines:
        memory_kb = int(lines.readline().split()[1])
    return {"processor": model, "cores": os.cpu_count(), "memory_bytes": memory_kb * 1024, "system": platform.platform()}


def main():
    asked = arguments()
    # Said here too, since a shell starts what runs in the background with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = asked.folder.resolve()
    work.mkdir(parents=True, exist_ok=True)
    events = events_file(work, asked.events)
    ready, about = prepared(asked, work, events)
    earlier = json.loads((work / "results.json").read_text()) if asked.add else {"engines": {}, "queries": {}, "load": []}
    if earlier.get("events", asked.events) != asked.events:
        sys.exit(f"{work} holds results of {earlier['events']} events")
    results = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "events": asked.events, "bytes": events.stat().st_size, "runs": asked.runs, "limit_seconds": asked.limit,
        "note": asked.note, "machine": machine(), "engines": {**earlier["engines"], **about},
        "load": [*earlier["load"], os.getloadavg()[0]], "queries": earlier["queries"],
    }
    try:
        for query in queries(asked):
            print(query["name"], file=sys.stderr)
            measure(query, ready, asked, results["queries"].setdefault(query["name"], {}))
            results["load"].append(os.getloadavg()[0])
            (work / "results.json").write_text(json.dumps(results, indent=1))
            report.write(results, work)
    finally:
        for engine in ready:
            engine.finish()
        processes.end_all()
        for engine in ready:
            if not asked.keep:
                shutil.rmtree(engine.folder, ignore_errors=True)
    print((work / "results.md").read_text())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
