"""Avro as another library reads and writes it, and a schema registry in memory, for the tests.

    avro.py serve                            serves a registry until its input ends; prints its address
    avro.py write BROKERS TOPIC REGISTRY     writes five orders
    avro.py read BROKERS TOPIC REGISTRY      prints the keys and values of a topic as JSON, one per line
"""
import io
import json
import struct
import sys
import threading
import urllib.request
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fastavro
from confluent_kafka import Consumer, Producer

PATIENCE_S = 60

ORDER = {
    "type": "record",
    "name": "order",
    "fields": [
        {"name": "inner", "type": {"type": "record", "name": "inside", "fields": [{"name": "x", "type": "double"}]}},
        {"name": "id", "type": "int"},
        {"name": "name", "type": ["null", "string"]},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "unread", "type": {"type": "array", "items": "long"}},
        {"name": "tags", "type": {"type": "map", "values": "int"}},
    ],
}


def order(number):
    return {
        "inner": {"x": number / 2},
        "id": number,
        "name": None if number == 2 else f"name {number}",
        "price": Decimal("1.25") * number,
        "at": datetime(2024, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=number),
        "unread": [number, -number],
        "tags": {"a": number},
    }


class Registry(BaseHTTPRequestHandler):
    schemas = []

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        number = int(self.path.rsplit("/", 1)[1])
        known = number <= len(self.schemas)
        self.answer(200, {"schema": self.schemas[number - 1]}) if known else self.answer(404, {"error_code": 40403})

    def do_POST(self):
        schema = json.loads(self.rfile.read(int(self.headers["content-length"])))["schema"]
        if schema not in self.schemas:
            self.schemas.append(schema)
        self.answer(200, {"id": self.schemas.index(schema) + 1})


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def write(brokers, topic, registry):
    body = json.dumps({"schema": json.dumps(ORDER)}).encode()
    request = urllib.request.Request(f"{registry}/subjects/{topic}-value/versions", body, method="POST")
    number = json.load(urllib.request.urlopen(request, timeout=PATIENCE_S))["id"]
    producer, schema = Producer({"bootstrap.servers": brokers}), fastavro.parse_schema(ORDER)
    for each in range(5):
        record = io.BytesIO(struct.pack(">bI", 0, number))
        record.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(record, schema, order(each))
        producer.produce(topic, record.getvalue())
    left = producer.flush(PATIENCE_S)
    assert left == 0, f"{left} records were not written"


def read(brokers, topic, registry):
    def value(message):
        number = struct.unpack(">bI", message[:5])[1]
        schema = json.load(urllib.request.urlopen(f"{registry}/schemas/ids/{number}", timeout=PATIENCE_S))["schema"]
        return fastavro.schemaless_reader(io.BytesIO(message[5:]), fastavro.parse_schema(json.loads(schema)))

    settings = {"bootstrap.servers": brokers, "group.id": "avro", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.partition.eof": True, "isolation.level": "read_committed"})
    consumer.subscribe([topic])
    while True:
        message = consumer.poll(PATIENCE_S)
        assert message is not None, "no answer from the broker"
        if message.error():
            break
        print(json.dumps([value(message.key()), value(message.value())], default=str))
    consumer.close()


{"serve": serve, "write": write, "read": read}[sys.argv[1]](*sys.argv[2:])
