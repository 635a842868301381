"""Writes the input files of the examples, the same ones at every run: python3 make_data.py"""

import datetime
import json
import math
import pathlib
import random

HERE = pathlib.Path(__file__).parent


def temperatures():
    """A machine measured every ten minutes: daily swing, noise, two failures; some readings arrive late."""
    chance = random.Random(1)
    begin = datetime.datetime(2024, 1, 8)
    rows = []
    for step in range(14 * 24 * 6):
        time = begin + datetime.timedelta(minutes=10 * step, seconds=chance.randrange(60))
        value = 85 + 4 * math.sin(step / 144 * 2 * math.pi) + chance.gauss(0, 1.2)
        day = step / 144
        if 6.2 < day < 6.5:
            value -= 40 * (day - 6.2) / 0.3
        if 11.0 < day < 11.1:
            value += 25
        arrival = time + datetime.timedelta(minutes=chance.choice([0, 0, 0, 25]))
        rows.append((arrival, f"{time},{value:.9f}\n"))
    rows.sort(key=lambda row: row[0])
    return "timestamp,value\n" + "".join(line for _, line in rows)


def accesses():
    """A web server's log in the common format."""
    chance = random.Random(2)
    time = datetime.datetime(2024, 5, 1, 21, 0)
    lines = []
    for _ in range(600):
        time += datetime.timedelta(seconds=chance.expovariate(1 / 20))
        page = chance.choice(["/", "/shop", "/shop/cart", "/about", "/login?next=/shop"])
        status = chance.choices([200, 304, 404, 500], [80, 10, 8, 2])[0]
        size = "-" if status == 304 else chance.randrange(200, 20000)
        address = f"10.0.{chance.randrange(4)}.{chance.randrange(20)}"
        lines.append(f'{address} - - [{time:%d/%b/%Y:%H:%M:%S} +0000] "GET {page} HTTP/1.1" {status} {size}\n')
    return "".join(lines)


def visits():
    """What visitors of a shop did: pages and orders with their lines."""
    chance = random.Random(3)
    events = []
    for visitor in range(30):
        time = datetime.datetime(2024, 6, 1, 9) + datetime.timedelta(minutes=chance.randrange(600))
        for _ in range(chance.randrange(2, 18)):
            time += datetime.timedelta(minutes=chance.choice([1, 2, 3, 5, 8, 45]), seconds=chance.randrange(60))
            event = {"visitor": {"id": visitor, "country": chance.choice(["DE", "DK", "NL"])}, "time": str(time)}
            if chance.random() < 0.2:
                lines = [{"article": chance.choice(["tea", "mug", "pot"]), "units": chance.randrange(1, 4),
                          "price": chance.randrange(200, 4000) / 100} for _ in range(chance.randrange(1, 4))]
                event["order"] = lines
            events.append((time, json.dumps(event) + "\n"))
    return "".join(line for _, line in sorted(events))


(HERE / "machine-temperature/readings.csv").write_text(temperatures())
(HERE / "web-log/access.log").write_text(accesses())
(HERE / "shop-visits/events.json").write_text(visits())
