"""Apache Flink: a cluster on this machine that runs all queries, warm when it is measured.

What the client that plans the query takes is not counted, nor is the start of the cluster: both favour Flink.
"""

import json
import os
import pathlib
import re
import select
import shutil
import socket
import subprocess
import time
import urllib.request

import installed
import processes
from engines.engine import HERE, NEXMARK, Engine

VERSION = "2.3.0"
PACKAGES = [f"apache-flink=={VERSION}", f"apache-flink-libraries=={VERSION}"]
START_SECONDS_MAX = 90
# The settings of queries that the Nexmark project for Flink uses.
TUNING = {
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "2 s",
    "table.exec.mini-batch.size": "50000",
    "table.optimizer.distinct-agg.split.enabled": "true",
}
CLUSTER = {
    "jobmanager.memory.process.size": "1600m",
    "taskmanager.memory.process.size": "4g",
    "taskmanager.numberOfTaskSlots": "2",
    "parallelism.default": "2",
    "state.backend.type": "rocksdb",
    "execution.checkpointing.incremental": "true",
    "execution.checkpointing.interval": "1 s",
    "restart-strategy.type": "none",
}
# Columns and tables of the benchmark that are words of Flink's grammar: they are put in quotes.
RESERVED = re.compile(r"(?<![`\w])(dateTime|result|final)(?![`\w])")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Flink(Engine):
    name, title = "flink", "Apache Flink"

    def prepare(self):
        java = java_home()
        python = installed.environment(f"flink-{VERSION}", PACKAGES, with_dependencies=False)
        found = list(python.parent.parent.glob("lib/python*/site-packages/pyflink"))
        if not found:
            raise installed.NotRun("the installed package holds no distribution")
        self.home, self.java, self.client, self.processes = found[0], java / "bin" / "java", None, []
        self.environment = {
            **os.environ,
            "JAVA_HOME": str(java),
            "FLINK_HOME": str(self.home),
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_LOG_DIR": str(self.folder / "logs"),
        }
        self.compile_client()
        return VERSION

    def compile_client(self):
        compiler = self.java.parent / "javac"
        if not compiler.exists():
            raise installed.NotRun("no Java compiler was found beside Java 17")
        command = [compiler, "-cp", f"{self.home}/lib/*", "-d", self.folder, HERE / "Submit.java"]
        said = subprocess.run(command, capture_output=True, text=True)
        if said.returncode != 0:
            raise installed.NotRun(f"the client could not be compiled: {said.stderr.strip()[:200]}")

    def configuration(self):
        cluster = "one job manager and one task manager for all queries, each query warmed by the run that is checked"
        return {**CLUSTER, **TUNING, "Java": "17", "cluster": cluster}

    def open(self, query):
        if self.processes:
            return
        self.write_configuration()
        (self.folder / "logs").mkdir(exist_ok=True)
        for part in ("jobmanager", "taskmanager"):
            command = ["bash", self.home / "bin" / f"{part}.sh", "start-foreground"]
            with open(self.folder / f"{part}.log", "wb") as log:
                self.processes.append(processes.start(command, log, env=self.environment, cwd=self.folder))
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.slots():
            if time.monotonic() > deadline:
                raise processes.Failed(f"the cluster was not ready after {START_SECONDS_MAX} s")
            time.sleep(0.2)
        command = [self.java, *self.opens, "-cp", f"{self.folder}:{self.home}/lib/*", "Submit", *self.client_settings()]
        self.client = processes.start(command, subprocess.PIPE, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=self.folder)

    def finish(self):
        for process in [*([self.client] if self.client else []), *reversed(self.processes)]:
            processes.end(process)
        self.client, self.processes = None, []

    def write_configuration(self):
        conf = self.folder / "conf"
        shutil.copytree(self.home / "conf", conf, dirs_exist_ok=True)
        self.port = free_port()
        kept = (self.home / "conf" / "config.yaml").read_text()
        self.opens = [word for word in kept.split() if word.startswith(("--add-exports=", "--add-opens="))]
        settings = {
            **CLUSTER,
            **TUNING,
            "env.java.opts.all": " ".join(self.opens),
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": free_port(),
            "jobmanager.bind-host": "localhost",
            "taskmanager.bind-host": "localhost",
            "taskmanager.host": "localhost",
            "rest.address": "localhost",
            "rest.bind-address": "localhost",
            "rest.port": self.port,
            "io.tmp.dirs": self.folder / "temporary",
            "execution.checkpointing.dir": f"file://{self.folder}/checkpoints",
        }
        (self.folder / "temporary").mkdir(exist_ok=True)
        (conf / "config.yaml").write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))

    def client_settings(self):
        return [
            "execution.target=remote", "rest.address=localhost", f"rest.port={self.port}", "table.local-time-zone=UTC",
            *(f"{key}={value}" for key, value in {**CLUSTER, **TUNING}.items() if not key.endswith("process.size")),
        ]

    def rest(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}", timeout=5) as reply:
            return json.load(reply)

    def slots(self):
        try:
            return self.rest("overview")["slots-available"] >= 2
        except (OSError, ValueError, KeyError):
            return False

    def script(self, query, options, with_key):
        """The benchmark's own files, with the file's address as a URI and words of Flink's grammar in quotes."""
        key = f", PRIMARY KEY ({query['key']}) NOT ENFORCED" if query["key"] and with_key else ""
        tables = (NEXMARK / "tables.sql").read_text().replace("'events.json'", f"'file://{self.events}'")
        text = "\n".join([
            tables,
            (NEXMARK / "views.sql").read_text(),
            f"CREATE TABLE result ({query['columns']}{key}) WITH ({options});",
            f"INSERT INTO result\n{query['sql']};\n",
        ])
        return RESERVED.sub(r"`\1`", text).replace(";\n", "\n--next--\n")

    def run(self, script, limit_seconds):
        job = self.folder / "job.sql"
        job.write_text(script)
        for process in self.processes:
            processes.forget_peak(process.pid)
        before = sum(processes.processor_seconds(process.pid) for process in self.processes)
        said = self.submit(job, limit_seconds)
        after = sum(processes.processor_seconds(process.pid) for process in self.processes)
        if said != "done":
            raise processes.Failed(said.removeprefix("failed: ")[:400] or "the client ended")
        last = max(self.rest("jobs/overview")["jobs"], key=lambda job: job["start-time"])
        if last["state"] != "FINISHED":
            raise processes.Failed(f"the job ended as {last['state']}")
        peak = sum(processes.peak_bytes(process.pid) for process in self.processes)
        return {"seconds": last["duration"] / 1000, "processor_seconds": after - before, "peak_bytes": peak}

    def submit(self, job, limit_seconds):
        """Has the client run a file; a job that takes too long ends with its cluster."""
        self.client.stdin.write(f"{job}\n".encode())
        self.client.stdin.flush()
        ready, _, _ = select.select([self.client.stdout], [], [], limit_seconds)
        if not ready:
            self.finish()
            raise processes.TimeLimit(f"more than {limit_seconds} s")
        return self.client.stdout.readline().decode().strip()

    def answer(self, query, limit_seconds):
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        format_name = "debezium-json" if query["key"] else "json"
        options = f"'connector' = 'filesystem', 'path' = 'file://{out}', 'format' = '{format_name}'"
        self.run(self.script(query, options, False), limit_seconds)
        return self.folded(query, out, change_of)

    def timed(self, query, limit_seconds):
        return self.run(self.script(query, "'connector' = 'blackhole'", True), limit_seconds)


def change_of(line):
    return (line["after"], 1) if line["op"] == "c" else (line["before"], -1)


def java_home():
    """Java 17, which this version of Flink is tested with."""
    candidates = [pathlib.Path(os.environ["JAVA_HOME"])] if "JAVA_HOME" in os.environ else []
    candidates += sorted(pathlib.Path("/usr/lib/jvm").glob("*17*"))
    on_path = shutil.which("java")
    if on_path:
        candidates.append(pathlib.Path(on_path).resolve().parent.parent)
    for home in candidates:
        java = home / "bin" / "java"
        if java.exists() and 'version "17' in subprocess.run([java, "-version"], capture_output=True, text=True).stderr:
            return home
    raise installed.NotRun("no Java 17 was found (set JAVA_HOME)")
