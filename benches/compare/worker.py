"""What the engines that run inside a Python process share: one request from a file, one result to a file.

The time to start Python and to import the engine is not counted, which favours these engines.
"""

import json
import resource
import sys
import time


def request():
    with open(sys.argv[1], encoding="utf-8") as file:
        return json.load(file)


def measured(work):
    """Runs `work` and says what it took; the peak is that of the whole process."""
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    work()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": processor, "peak_bytes": after.ru_maxrss * 1024}


def reply(result):
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump(result, file)
