"""Writes each kind of events into a file of its own, for engines that read no nested rows or no times as text.

Names become lower case, times milliseconds since 1970. Made once and not counted, which favours these engines.
"""

import calendar
import json
import sys
import time

KINDS = ("person", "auction", "bid")
TIMES = ("dateTime", "expires")


def milliseconds(text, known={}):
    whole, _, part = text.partition(".")
    if whole not in known:
        known[whole] = calendar.timegm(time.strptime(whole, "%Y-%m-%d %H:%M:%S")) * 1000
    return known[whole] + int(f"{part:0<3}")


def write(events):
    """The folder of the three files for a file of events."""
    folder = events.parent / "flat"
    done = folder / "done"
    if not done.exists():
        print("making flat events", file=sys.stderr)
        folder.mkdir(exist_ok=True)
        files = {kind: open(folder / f"{kind}.json", "w", encoding="utf-8") for kind in KINDS}
        with open(events, encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                kind = KINDS[event["event_type"]]
                row = {name.lower(): milliseconds(value) if name in TIMES else value for name, value in event[kind].items()}
                files[kind].write(json.dumps(row, separators=(",", ":")) + "\n")
        for file in files.values():
            file.close()
        done.touch()
    return folder
