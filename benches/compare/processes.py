"""Starts processes, measures them, and ends every one of them by its id, also after a failure or Ctrl-C."""

import os
import select
import signal
import subprocess
import time

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# How long a process may take to end by itself before it is killed.
GRACE_SECONDS = 10

_running = {}


class TimeLimit(Exception):
    """A run took longer than it may."""


class Failed(Exception):
    """An engine did not answer: the text says why."""


def start(argv, log, **options):
    """Starts a process in a session of its own, so that its children end with it."""
    options = {"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, **options}
    process = subprocess.Popen(argv, stdout=log, start_new_session=True, **options)
    _running[process.pid] = process
    return process


def end(process):
    """Ends a process and what it started."""
    if process.pid not in _running:
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    _running.pop(process.pid, None)


def end_all():
    for process in list(_running.values()):
        end(process)


def run(argv, log_path, limit_seconds, **options):
    """Runs a process to its end: its seconds, processor seconds and peak resident bytes."""
    with open(log_path, "wb") as log:
        began = time.monotonic()
        process = start(argv, log, **options)
        try:
            descriptor = os.pidfd_open(process.pid)
            ready, _, _ = select.select([descriptor], [], [], limit_seconds)
            os.close(descriptor)
            if not ready:
                raise TimeLimit(f"more than {limit_seconds} s")
            seconds = time.monotonic() - began
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            _running.pop(process.pid, None)
        finally:
            end(process)
    if process.returncode != 0:
        raise Failed(first_complaint(log_path) or f"ended with {process.returncode}")
    return {"seconds": seconds, "processor_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def first_complaint(log_path):
    """The line of a log that looks like the reason."""
    with open(log_path, encoding="utf-8", errors="replace") as log:
        lines = [line.strip() for line in log if line.strip()]
    # The last line of a Python program that failed names the reason, elsewhere it is the first that mentions an error.
    if any(line.startswith("Traceback") for line in lines):
        lines.reverse()
    telling = [line for line in lines if "rror:" in line or "rror at" in line or "xception:" in line]
    return (telling or lines or [""])[0][:300]


def processor_seconds(pid):
    """What a process that still runs, and those of its children that ended, took so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_SECOND


def forget_peak(pid):
    """Has the kernel measure the peak anew, from what is resident now."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="ascii") as peaks:
        peaks.write("5")


def peak_bytes(pid):
    """The most memory that a process that still runs had resident since its start or since `forget_peak`."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0
