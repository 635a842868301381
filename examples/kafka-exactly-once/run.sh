#!/usr/bin/env bash
# Starts a broker, runs the job, kills it on its way, runs it again, and compares what a reader sees with `expected`.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
tidemill=${TIDEMILL:-$(command -v tidemill || true)}
if [ -z "$tidemill" ]; then
  (cd "$root" && ./scripts/setup.sh && cargo build --bin tidemill)
  tidemill=${CARGO_TARGET_DIR:-$root/target}/debug/tidemill
fi
work=$(mktemp -d)
if docker info > /dev/null 2>&1 && docker compose version > /dev/null 2>&1; then
  docker compose up -d
  trap 'docker compose down -v; rm -rf "$work"' EXIT
else
  ../../scripts/kafka/kafka.sh run "$work/broker" 29092 > "$work/broker.log" 2>&1 &
  broker=$!
  trap 'kill -9 $broker; wait $broker 2> /dev/null || true; rm -rf "$work"' EXIT
fi
cp ./*.sql "$work" && expected=$PWD/expected && cd "$work"
for _ in $(seq 300); do (exec 3<> /dev/tcp/localhost/29092) 2> /dev/null && break; sleep 0.2; done

"$tidemill" run fill.sql --quiet --state-dir filled
"$tidemill" run job.sql --quiet --state-dir state & job=$!
sleep 1
kill -9 $job 2> /dev/null && echo "killed"
wait $job 2> /dev/null || true
"$tidemill" run job.sql --quiet --state-dir state
"$tidemill" run answer.sql --quiet --state-dir answered
cat out/* | sort | tee answer
diff answer "$expected" && echo "as expected"
