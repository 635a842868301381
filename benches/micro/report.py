"""Reads what criterion measured and prints, per input and bound, Tidemill's speed and its share of the bound's."""

import json
import sys
from pathlib import Path

OURS = "tidemill"


def measured(folder):
    """Group, function, input (None: for all of the group), rows, bytes, seconds of each benchmark."""
    for path in sorted(Path(folder).glob("**/new/benchmark.json")):
        name = json.loads(path.read_text())
        size = name["throughput"]["ElementsAndBytes"]
        estimates = json.loads(path.with_name("estimates.json").read_text())
        seconds = estimates["median"]["point_estimate"] / 1e9
        yield name["group_id"], name["function_id"], name["value_str"], size["elements"], size["bytes"], seconds


def speed(rows, size, seconds):
    millions, gigabytes = rows / seconds / 1e6, size / seconds / 1e9
    return f"{millions:.{0 if millions > 100 else 1}f} M, {gigabytes:.{0 if gigabytes > 10 else 2}f} GB"


def main(folder):
    benches = list(measured(folder))
    print("| part | input | Tidemill, rows and bytes/s | bound | bound, rows and bytes/s | share |")
    print("|---|---|---|---|---|---|")
    for group, function, given, rows, size, seconds in benches:
        if function != OURS:
            continue
        bounds = [b for b in benches if b[0] == group and b[1] != OURS and b[2] in (given, None)]
        for _, bound, _, bound_rows, bound_size, bound_seconds in sorted(bounds, key=lambda b: -b[5]):
            share = bound_seconds / bound_rows / (seconds / rows)
            print(f"| {group} | {given} | {speed(rows, size, seconds)} | {bound} "
                  f"| {speed(bound_rows, bound_size, bound_seconds)} | {100 * share:.{0 if share > 0.1 else 1}f} % |")


main(sys.argv[1])
