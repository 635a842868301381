"""Starts a server of its own on loopback and measures it. See run.sh."""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time

CONTROL_JOBS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
IDLE_JOBS = int(sys.argv[2]) if len(sys.argv) > 2 else 200
CALLS = 300
SLOW_CALLS = 20
IDLE_SECONDS = 10
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

JOB = """
CREATE TABLE orders (item STRING, amount INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts) WITH ('connector' = 'http', 'format' = 'json');
CREATE TABLE sums (item STRING, total BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO sums SELECT item, SUM(amount) FROM TABLE(TUMBLE(TABLE orders, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY item, window_start, window_end;
"""

# A row a hundredth of a second, with the moment when it was made.
TICKS = """
CREATE TABLE ticks (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100', 'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{last}');
SELECT n, CURRENT_TIMESTAMP AS made FROM ticks
"""


class Server:
    def __init__(self, folder):
        arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", folder, "--requests-per-second", "0"]
        arguments += ["--jobs-running-max", str(max(CONTROL_JOBS, IDLE_JOBS) + 10)]
        begun = time.monotonic()
        self.process = subprocess.Popen(
            [os.environ["TIDEMILL_BIN"], *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        line = self.process.stdout.readline()
        self.start_seconds = time.monotonic() - begun
        self.port = int(re.search(r"http://127\.0\.0\.1:(\d+)", line).group(1))
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, method, path, body=None):
        """The decoded answer; anything but success ends the measurement."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
        return text

    def memory_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def processor_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def stream(self, sql):
        """Moments at which each event of a streamed query came, with the event."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Accept": "application/x-ndjson", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/queries", json.dumps({"sql": sql}), headers)
        answer = connection.getresponse()
        for line in answer:
            yield time.time(), json.loads(line)
        connection.close()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def milliseconds(values):
    return f"{1000 * percentile(values, 0.5):.1f} ms | {1000 * percentile(values, 0.99):.1f} ms | {1000 * max(values):.1f} ms"


def seconds_of(call):
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def idle(server, count):
    before = server.processor_seconds()
    time.sleep(IDLE_SECONDS)
    share = 100 * (server.processor_seconds() - before) / IDLE_SECONDS
    print(f"| {count} | {server.memory_mb():.0f} MB | {server.threads()} | {share:.1f} % of a core |", flush=True)


def make_jobs(server, numbers):
    return [seconds_of(lambda: server.ask("POST", "/api/v1/jobs", {"name": f"j{n}", "sql": JOB})) for n in numbers]


def wait_until_running(server, count):
    deadline = time.monotonic() + 120
    running = lambda: sum(job["phase"] == "running" for job in json.loads(server.ask("GET", "/api/v1/jobs"))["jobs"])
    while running() < count:
        if time.monotonic() > deadline:
            sys.exit(f"{count} jobs did not start within two minutes")
        time.sleep(0.2)


def control_calls(server):
    looks = {
        "GET /jobs/{id}": ("GET", "/api/v1/jobs/j7", None),
        "GET /jobs/{id}/metrics": ("GET", "/api/v1/jobs/j7/metrics", None),
        "GET /jobs/{id}/checkpoints": ("GET", "/api/v1/jobs/j7/checkpoints", None),
        "GET /jobs/{id}/logs": ("GET", "/api/v1/jobs/j7/logs", None),
        "GET /jobs, all of them": ("GET", "/api/v1/jobs", None),
        "GET /catalog": ("GET", "/api/v1/catalog", None),
        "GET /metrics": ("GET", "/metrics", None),
        "GET /readyz": ("GET", "/readyz", None),
        "POST /sql/validate": ("POST", "/api/v1/sql/validate", {"sql": JOB}),
        "POST /sql/explain": ("POST", "/api/v1/sql/explain", {"sql": JOB}),
    }
    for name, (method, path, body) in looks.items():
        server.ask(method, path, body)
        print(f"| {name} | {milliseconds([seconds_of(lambda: server.ask(method, path, body)) for _ in range(CALLS)])} |", flush=True)
    changes = {
        "POST /jobs/{id}/savepoints": lambda n: ("POST", f"/api/v1/jobs/j{n}/savepoints", {"name": "s"}),
        "POST /jobs/{id}/stop": lambda n: ("POST", f"/api/v1/jobs/j{n}/stop", {}),
        "POST /jobs/{id}/start": lambda n: ("POST", f"/api/v1/jobs/j{n}/start", {}),
    }
    for name, call in changes.items():
        print(f"| {name} | {milliseconds([seconds_of(lambda: server.ask(*call(n))) for n in range(min(SLOW_CALLS, CONTROL_JOBS))])} |", flush=True)


def streamed_rows(server):
    firsts, lags = [], []
    for _ in range(SLOW_CALLS):
        begun = time.time()
        for came, event in server.stream(TICKS.format(last=0)):
            if event["event"] == "rows":
                firsts.append(came - begun)
    for came, event in server.stream(TICKS.format(last=999)):
        for _, made in event["rows"] if event["event"] == "rows" else []:
            lags.append(came - seconds_since_1970(made))
    print(f"| from the submission of a query to its first row | {milliseconds(firsts)} |")
    print(f"| from the making of a row to its arrival at a client, 100 rows/s | {milliseconds(lags)} |", flush=True)


def seconds_since_1970(text):
    from datetime import datetime, timezone

    moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "T"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def main():
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            print(f"start to listening: {1000 * server.start_seconds:.0f} ms\n")
            print("| idle jobs | memory | threads | processor time |\n|---|---|---|---|")
            time.sleep(1)
            idle(server, 0)
            make_jobs(server, range(CONTROL_JOBS))
            wait_until_running(server, CONTROL_JOBS)
            idle(server, CONTROL_JOBS)
            print(f"\n| with {CONTROL_JOBS} jobs | p50 | p99 | slowest |\n|---|---|---|---|")
            control_calls(server)
            streamed_rows(server)
            made = make_jobs(server, range(CONTROL_JOBS, IDLE_JOBS))
            print(f"| POST /jobs, {CONTROL_JOBS} to {IDLE_JOBS} | {milliseconds(made)} |")
            wait_until_running(server, IDLE_JOBS)
            print("\n| idle jobs | memory | threads | processor time |\n|---|---|---|---|")
            idle(server, IDLE_JOBS)
        finally:
            server.process.terminate()
            server.process.wait(timeout=120)


main()
