"""A second Kafka client, for the tests: makes topics, writes numbered records, and checks what a reader of committed rows sees.

    checker.py BROKERS COMMAND ARGUMENTS...       prints one JSON value
"""
import json
import sys
import threading
import time
from collections import Counter

from confluent_kafka import OFFSET_BEGINNING, Consumer, ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

# How long a request to the broker may take.
PATIENCE_S = 60
# Keys of numbered records.
KEYS = 20
# Event time between two numbered records.
STEP_MS = 10
# Event time of the records that close all windows, in milliseconds since 1970.
END_OF_TIME_MS = 4_000_000_000_000


def done(futures):
    for future in futures.values():
        future.result(PATIENCE_S)
    return len(futures)


def topics(*names):
    """NAME:PARTITIONS ... with topic settings behind further colons."""
    new = []
    for name in names:
        name, partitions, *settings = name.split(":")
        new.append(NewTopic(name, int(partitions), 1, config=dict(setting.split("=") for setting in settings)))
    return done(ADMIN.create_topics(new, operation_timeout=PATIENCE_S))


def delete(*names):
    return done(ADMIN.delete_topics(list(names), operation_timeout=PATIENCE_S))


def grow(name, partitions):
    return done(ADMIN.create_partitions([NewPartitions(name, int(partitions))]))


def producer(**settings):
    return Producer({"bootstrap.servers": BROKERS, "log_level": 2, "linger.ms": 5, "message.max.bytes": 2_000_000,
                     "enable.idempotence": True, **settings})


class Sent:
    """Rows on their way; any that the broker refuses ends the program."""

    def __init__(self, client):
        self.client, self.failed = client, None

    def answer(self, error, _message):
        self.failed = self.failed or error

    def send(self, topic, **record):
        while True:
            try:
                self.client.produce(topic, on_delivery=self.answer, **record)
                break
            except BufferError:
                self.client.poll(0.1)
        self.client.poll(0)

    def flush(self):
        left = self.client.flush(PATIENCE_S * 2)
        if left or self.failed:
            sys.exit(f"{left} records were not written: {self.failed}")


def number(topic, partitions, per_second):
    """Writes records with the numbers 0, 1, ... until the input ends, then one per partition that closes all windows."""
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    partitions, per_second = int(partitions), int(per_second)
    sent, begun, n = Sent(producer(**{"message.timeout.ms": 300_000})), time.monotonic(), 0
    while not stop.is_set():
        until = int((time.monotonic() - begun) * per_second)
        while n < until:
            key = n % KEYS
            sent.send(topic, key=f"key-{key}", partition=key % partitions, value=row(n, f"key-{key}", n * STEP_MS))
            n += 1
        sent.client.poll(0.005)
    for partition in range(partitions):
        sent.send(topic, key="end", partition=partition, value=row(-1, "end", END_OF_TIME_MS))
    sent.flush()
    return n


def row(n, key, time_ms):
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time_ms // 1000))
    return json.dumps({"n": n, "k": key, "ts": f"{at}.{time_ms % 1000:03}"})


def produce(topic, *transactions):
    """Writes the records of the standard input, one JSON object a line: value or bytes (a count), key, partition, timestamp.
    With `commit` or `abort`: in a transaction that ends so; with `leave` in one that is left open."""
    end = transactions[0] if transactions else None
    client = producer(**({"transactional.id": f"checker-{topic}-{time.time_ns()}"} if end else {}))
    if end:
        client.init_transactions(PATIENCE_S)
        client.begin_transaction()
    sent, count = Sent(client), 0
    for line in sys.stdin:
        record = json.loads(line)
        if "bytes" in record:
            record["value"] = "x" * record.pop("bytes")
        sent.send(topic, **record)
        count += 1
    sent.flush()
    if end == "commit":
        client.commit_transaction(PATIENCE_S)
    elif end == "abort":
        client.abort_transaction(PATIENCE_S)
    return count


def commit_without_pause(topic):
    """One transaction behind the other until the input ends; how many."""
    stop, commits = threading.Event(), 0
    threading.Thread(target=lambda: (sys.stdin.read(), stop.set()), daemon=True).start()
    client = producer(**{"transactional.id": f"checker-{topic}", "linger.ms": 0})
    client.init_transactions(PATIENCE_S)
    while not stop.is_set():
        client.begin_transaction()
        client.produce(topic, key="another job", value='{"epoch": 1, "owner": "another", "writer": null}')
        client.commit_transaction(PATIENCE_S)
        commits += 1
    return commits


def consumer(isolation):
    return Consumer({
        "bootstrap.servers": BROKERS, "group.id": "checker", "enable.auto.commit": False, "isolation.level": isolation,
        "enable.partition.eof": True, "auto.offset.reset": "error", "fetch.message.max.bytes": 2_000_000,
    })


def messages(topic, isolation):
    """All that such a reader sees, up to the end of each partition."""
    client = consumer(isolation)
    partitions = client.list_topics(topic, PATIENCE_S).topics[topic].partitions
    client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    open_ends, seen, deadline = set(partitions), [], time.monotonic() + PATIENCE_S
    while open_ends:
        message = client.poll(1)
        if time.monotonic() > deadline:
            sys.exit(f"the end of {topic}, partitions {open_ends}, was not reached")
        if message is None:
            continue
        if message.error() is None:
            seen.append(message)
        elif message.error().code() == KafkaError._PARTITION_EOF:
            open_ends.discard(message.partition())
        else:
            sys.exit(f"{topic}: {message.error()}")
    client.close()
    return seen


def read(topic, isolation="read_committed"):
    def text(part):
        return None if part is None else part.decode()
    return [
        {"partition": one.partition(), "offset": one.offset(), "key": text(one.key()), "value": text(one.value())}
        for one in messages(topic, isolation)
    ]


def wait_for(topic, count, seconds):
    """Waits until so many committed rows are there; how many there are. Where they are too few, it says what is known."""
    client, seen, errors = consumer("read_committed"), 0, set()
    partitions = client.list_topics(topic, PATIENCE_S).topics[topic].partitions
    client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
    deadline = time.monotonic() + float(seconds)
    while seen < int(count) and time.monotonic() < deadline:
        message = client.poll(0.2)
        if message is None:
            continue
        if message.error() is None:
            seen += 1
        elif message.error().code() != KafkaError._PARTITION_EOF:
            errors.add(str(message.error()))
    if seen < int(count):
        print(f"{topic}: {seen} of {count} rows after {seconds} s; of each partition the first offset and what is behind the last "
              f"committed: {ends(client, topic, partitions)}, behind the last: "
              f"{ends(consumer('read_uncommitted'), topic, partitions)}; errors: {sorted(errors)}", file=sys.stderr)
    client.close()
    return seen


def ends(client, topic, partitions):
    return [client.get_watermark_offsets(TopicPartition(topic, partition), PATIENCE_S) for partition in partitions]


def ledger(topic, order):
    """The rows of `topic` against those of the standard input, one a line: each is to be there once, and of one key in one
    partition the values of the column `order` rise."""
    expected = Counter(canonical(line) for line in sys.stdin)
    found, inverted, newest = Counter(), [], {}
    seen = messages(topic, "read_committed")
    for message in seen:
        value = message.value().decode()
        fields = json.loads(value)
        found[canonical(value)] += 1
        place = (message.partition(), fields["k"])
        if place in newest and fields[order] < newest[place]:
            inverted.append(value)
        newest[place] = fields[order]
    lost, doubled = expected - found, Counter({one: n - expected[one] for one, n in found.items() if n > expected[one] > 0})
    foreign = [one for one in found if one not in expected]
    written = len(messages(topic, "read_uncommitted"))
    return {
        "rows": len(seen), "never_visible": written - len(seen), "lost": len(lost), "doubled": len(doubled),
        "foreign": len(foreign), "inverted": len(inverted),
        "examples": sorted(lost)[:3] + sorted(doubled)[:3] + sorted(foreign)[:3] + inverted[:3],
    }


def numbers(topic):
    """The numbers of the records in a topic of the input, as often as they are there: a broker that is killed may have stored what
    its producer then sends again."""
    found = (json.loads(message.value())["n"] for message in messages(topic, "read_uncommitted"))
    return sorted(n for n in found if n >= 0)


def canonical(line):
    return json.dumps(json.loads(line), sort_keys=True)


def group(name):
    """The offsets that a group has, by topic-partition."""
    found = ADMIN.list_consumer_group_offsets([ConsumerGroupTopicPartitions(name)])[name].result(PATIENCE_S)
    return {f"{one.topic}-{one.partition}": one.offset for one in found.topic_partitions}


def commit_group(name, topic, *offsets):
    client = Consumer({"bootstrap.servers": BROKERS, "group.id": name, "enable.auto.commit": False})
    client.commit(
        offsets=[TopicPartition(topic, index, int(offset)) for index, offset in enumerate(offsets)], asynchronous=False
    )
    client.close()
    return len(offsets)


COMMANDS = [topics, delete, grow, number, produce, commit_without_pause, read, wait_for, ledger, numbers, group, commit_group]
BROKERS = sys.argv[1]
ADMIN = AdminClient({"bootstrap.servers": BROKERS})
print(json.dumps({command.__name__: command for command in COMMANDS}[sys.argv[2]](*sys.argv[3:])))
