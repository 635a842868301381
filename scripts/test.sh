#!/usr/bin/env bash
# Every test of the project: Rust tests of all crates, the SQL corpus in all worlds, crash tests on the real program,
# comparisons with DuckDB, and faults of Apache Kafka, which are fetched into folders of their own. At the end it says what could not be
# run here, and why.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh --for-tests

# DuckDB is the judge of batch answers. Its version is fixed so that answers do not change under the tests.
duckdb_version="2.0.0"
venv="${TIDEMILL_TEST_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemill-duckdb-$duckdb_version}"
if ! "$venv/bin/python" -c 'import duckdb' 2>/dev/null; then
  python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "duckdb==$duckdb_version" ||
    echo "test: DuckDB could not be installed: the comparisons with it will be reported as NOT RUN" >&2
fi
export TIDEMILL_DUCKDB_PYTHON="$venv/bin/python"

# A real Apache Kafka broker, and a second client that judges what is in its topics.
./scripts/kafka/kafka.sh fetch > /dev/null ||
  echo "test: Apache Kafka could not be fetched: the tests that need it will be reported as NOT RUN" >&2
client_version="2.16.1"
avro_version="1.13.1"
client="${TIDEMILL_KAFKA_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/tidemill-kafka-client-$client_version}"
if ! "$client/bin/python" -c 'import confluent_kafka, fastavro' 2>/dev/null; then
  { python3 -m venv "$client" && "$client/bin/pip" install --quiet --disable-pip-version-check "confluent-kafka==$client_version" "fastavro==$avro_version"; } ||
    echo "test: the Kafka client could not be installed: the tests that need it will be reported as NOT RUN" >&2
fi
export TIDEMILL_KAFKA_PYTHON="$client/bin/python"

# What cannot run here passes, and is told at the end, where nobody overlooks it.
not_run="$(mktemp)"
trap 'rm -f "$not_run"' EXIT
export TIDEMILL_NOT_RUN_FILE="$not_run"
code=0
cargo test --workspace "$@" || code=$?
count=$(sort -u "$not_run" | wc -l)
printf '\n==== NOT RUN: %s ====\n' "$count"
sort -u "$not_run" | sed 's/^/  /'
[ "$count" -eq 0 ] || printf '==== NOT RUN: %s, for the reasons above ====\n' "$count"
exit "$code"
