"""Answers in one canonical form: the number of rows and a checksum that does not depend on their order.

Each row becomes one text, each text a number, and a row that is taken back is subtracted: the sum over all changes is the
sum over the rows that are left. Not for reading engines' files: each engine does that itself.
"""

import datetime
import decimal
import hashlib
import re

MODULUS = 1 << 128
MISSING = "\\N"


def text_of_time(value):
    """Times with exactly three digits after the second, without a zone: milliseconds since 1970 or SQL text go in."""
    if isinstance(value, str) and len(value) == 23 and value[10] == " ":
        return value
    if isinstance(value, (int, float)):
        value = datetime.datetime.fromtimestamp(value / 1000, datetime.timezone.utc)
    if isinstance(value, datetime.datetime):
        value = value.strftime("%Y-%m-%d %H:%M:%S.%f")
    whole, _, part = value.replace("T", " ").rstrip("Z").partition(".")
    return f"{whole}.{part[:3]:0<3}"


def text_of_decimal(value):
    text = format(decimal.Decimal(str(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def text_of_integer(value):
    return str(int(value))


def converter(kind):
    """What makes the text of a value of an SQL type, the same for each engine."""
    if kind.startswith("TIMESTAMP"):
        return text_of_time
    if kind.startswith("DECIMAL"):
        return text_of_decimal
    return text_of_integer if kind.endswith("INT") else str


class Answer:
    """The rows that are left after all changes, as their number and checksum."""

    def __init__(self, kinds, kept):
        self.columns = [(index, converter(kinds[index])) for index in kept]
        self.rows, self.sum = 0, 0

    def add(self, values, weight=1):
        texts = [MISSING if values[index] is None else text(values[index]) for index, text in self.columns]
        digest = hashlib.blake2b("\x1f".join(texts).encode(), digest_size=16).digest()
        self.rows += weight
        self.sum = (self.sum + weight * int.from_bytes(digest, "little")) % MODULUS

    def result(self):
        return {"rows": self.rows, "checksum": f"{self.sum:032x}"}


class SumsByKey:
    """For windows of the machine's clock, which fall differently at each run: per first column the sum of the second."""

    def __init__(self):
        self.sums = {}

    def add(self, values, weight=1):
        key = int(values[0])
        self.sums[key] = self.sums.get(key, 0) + weight * int(values[1])

    def result(self):
        answer = Answer(["BIGINT", "BIGINT"], [0, 1])
        for key, total in self.sums.items():
            answer.add([key, total])
        return answer.result()


def columns_of(text):
    """`a BIGINT, b DECIMAL(23, 3)` as names and types."""
    parts = re.split(r",\s*(?![^()]*\))", text)
    pairs = [part.strip().split(" ", 1) for part in parts]
    return [name.strip("`") for name, _ in pairs], [kind for _, kind in pairs]


# Two bids of a bidder for an auction in the same millisecond, or of the same price, are a tie that each engine may
# break in its own way: what only the tie decides stays out of the checksum.
LEFT_TO_TIES = {
    "q9": {"bidder", "bid_extra"},
    "q18": {"price", "channel", "url", "extra"},
    "q19": {"bidder", "channel", "url", "dateTime", "extra"},
}


def empty_answer(query):
    """Where the rows of a query, given as `{name, columns}`, are added up."""
    if query["name"] == "q12":
        return SumsByKey()
    names, kinds = columns_of(query["columns"])
    left_out = LEFT_TO_TIES.get(query["name"], set())
    return Answer(kinds, [index for index, name in enumerate(names) if name not in left_out])
