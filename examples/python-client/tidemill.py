"""A client for Tidemill's server, with Python's standard library alone.

    server = Server()                       # TIDEMILL_SERVER and TIDEMILL_TOKEN, or http://127.0.0.1:8080
    server.submit("sums", open("job.sql").read())
    server.wait("sums", "running")
    print(server.job("sums")["epoch"])
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request


class Problem(Exception):
    """What the server refused, as its answer tells it (RFC 9457)."""

    def __init__(self, status, body):
        self.status, self.body = status, body
        self.type = body.get("type", "").rsplit(":", 1)[-1]
        hint = body.get("hint")
        super().__init__(body.get("detail", f"HTTP {status}") + (f" ({hint})" if hint else ""))


class Server:
    def __init__(self, url=None, token=None, timeout=90):
        self.url = (url or os.environ.get("TIDEMILL_SERVER") or "http://127.0.0.1:8080").rstrip("/")
        self.token = token or os.environ.get("TIDEMILL_TOKEN")
        self.timeout = timeout

    def ask(self, method, path, body=None):
        """Any route below /api/v1; the answer as Python has it, `None` for nothing."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            try:
                found = json.loads(error.read())
            except ValueError:
                found = {}
            raise Problem(error.code, found) from None
        return json.loads(text) if text else None

    def submit(self, name, sql, **more):
        """Makes a job and starts it. `more`: parallelism, settings, from_savepoint, start."""
        return self.ask("POST", "/jobs", {"name": name, "sql": sql, **more})

    def jobs(self):
        return self.ask("GET", "/jobs")["jobs"]

    def job(self, name):
        return self.ask("GET", f"/jobs/{name}")

    def stop(self, name, savepoint=None):
        """With a final checkpoint, or a savepoint of this name."""
        return self.ask("POST", f"/jobs/{name}/stop", {"savepoint_name": savepoint} if savepoint else {})

    def start(self, name):
        return self.ask("POST", f"/jobs/{name}/start", {})

    def delete(self, name):
        self.ask("DELETE", f"/jobs/{name}")

    def logs(self, name, after=0):
        return self.ask("GET", f"/jobs/{name}/logs?after={after}")["entries"]

    def wait(self, name, phase, timeout=60):
        """Until the job is in this phase; an error when it failed instead."""
        deadline = time.monotonic() + timeout
        while True:
            job = self.job(name)
            if job["phase"] == phase:
                return job
            if job["phase"] == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"the job {name} is {job['phase']}: {job['last_error']}")
            time.sleep(0.1)


def main():
    """`tidemill.py NAME FILE.sql`: submits a job and shows its log until it ends."""
    server, (name, path) = Server(), sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        server.submit(name, file.read())
    after, is_over = 0, False
    while not is_over:
        is_over = server.job(name)["phase"] in ("finished", "failed", "stopped")
        for entry in server.logs(name, after):
            after = entry["number"]
            print(entry["level"], entry["text"])
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        main()
    except Problem as problem:
        sys.exit(f"error: {problem}")
