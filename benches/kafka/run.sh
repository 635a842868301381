#!/usr/bin/env bash
# Tidemill against a bare client of the same library, over records of 200 bytes from an Apache Kafka broker that this script starts on
# loopback: consume, parse, filter, count per key in a tumbling window and write back exactly once with a checkpoint every second, beside
# a consumer that only counts bytes, in turn; then the time from a record's timestamp until what came of it can be read as committed.
# Counted are 10,000 keys in windows of 10 seconds, over two topics: in "dense" a second of event time has 100,000 records, so that 1 of
# 100 records read is written; in "sparse" it has 1,000, so that 59 of 100 are written.
# Prints Markdown. Needs Java 17 (and Maven, the first time). Usage: benches/kafka/run.sh [records] [runs] [records per second for latency]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
records=${1:-5000000}
runs=${2:-3}
rate=${3:-20000}
partitions=4
target=${CARGO_TARGET_DIR:-$root/target}
tidemill=${TIDEMILL_BIN:-$target/release/tidemill}
client=${KAFKA_CLIENT_BIN:-$target/release/examples/kafka_client}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
[ -x "$client" ] || (cd "$root" && cargo build --release --package tidemill-connectors --example kafka_client)
work=$(mktemp -d)
port=${KAFKA_PORT:-29092}
brokers=127.0.0.1:$port
"$root/scripts/kafka/kafka.sh" run "$work/broker" "$port" num.partitions=$partitions > "$work/broker.log" 2>&1 &
broker=$!
trap 'kill -9 $broker; wait $broker 2> /dev/null || true; rm -rf "$work"' EXIT
cd "$work"

# A job of this folder: its tables and its statements.
job() {
  local name=$1 count=$2 pace=$3 bounded=$4 topic=${5:-orders}
  local step='1 ms'
  [ "$topic" = dense ] && step='10 us'
  cat "$here/tables.sql" "$here/$name.sql" | grep -v '^--' |
    sed "s/ROWS/$count/g; s/RATE/$pace/; s/BROKERS/$brokers/; s/BOUNDED/$bounded/; s/ORDERS/$topic/; s/STEP/$step/; s/COUNTS/counts-$topic/; s/PASSED/passed/"
}

# Hundredths of a second that the machine's processors were busy, and all.
processors() { awk '/^cpu / {print $2 + $3 + $4 + $7 + $8, $2 + $3 + $4 + $5 + $6 + $7 + $8}' /proc/stat; }

seconds_of() { # command ...: runs it, prints seconds, processor seconds, and the share of all processors that were busy
  local start end before
  before=$(processors)
  start=$(date +%s.%N)
  TIMEFORMAT='%U %S'
  { time "$@" > out 2> err; } 2> used || { cat err >&2; return 1; }
  end=$(date +%s.%N)
  echo "$start $end $(tail -n 1 used) $before $(processors)" | awk '{print $2 - $1, $3 + $4, 100 * ($7 - $5) / ($8 - $6)}'
}

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

for _ in $(seq 60); do (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break; sleep 0.5; done
echo "| topic | reader | records/s | records per processor second | processors busy, with the broker |"
echo "|---|---|---|---|---|"
for topic in dense sparse; do
  job generate "$records" 100000000 unbounded $topic > generate.sql
  "$tidemill" run generate.sql --quiet --state-dir generate-$topic -p 2
  : > bare; : > ours
  for _ in $(seq "$runs"); do
    seconds_of "$client" bytes "$brokers" $topic > line
    cat line >> bare
    read -r messages bytes inner < out
    [ "$messages" = "$records" ] || { echo "the topic holds $messages records, not $records" >&2; exit 1; }
    rm -rf count
    job count "$records" 1 latest-offset $topic > count.sql
    seconds_of "$tidemill" run count.sql --state-dir count -p 2 >> ours
  done
  for who in bare ours; do
    name="bare consumer, counts bytes"
    [ "$who" = bare ] || name="tidemill, counts per key, exactly once"
    echo "$records $(for n in 1 2 3; do cut -d ' ' -f $n "$who" | median; done | tr '\n' ' ')" |
      awk -v topic=$topic -v name="$name" '{printf "| %s | %s | %d k | %d k | %.0f %% |\n", topic, name, $1 / $2 / 1000, $1 / $3 / 1000, $4}'
  done
  echo "$(cut -d ' ' -f 1 bare | median) $(cut -d ' ' -f 1 ours | median) $bytes $messages" |
    awk -v topic=$topic '{printf "%s: %.0f %% of the bare consumer; %d bytes per record\n", topic, 100 * $1 / $2, $3 / $4}' >> shares
done
echo
cat shares

# Latency: a job that runs while records come at a steady rate.
sent=$((rate * 20))
job pass "$sent" "$rate" unbounded live > pass.sql
job generate "$sent" "$rate" unbounded live > live.sql
"$tidemill" run live.sql --quiet --state-dir live -p 1 & writer=$!
sleep 2
"$tidemill" run pass.sql --quiet --state-dir pass -p 2 2> pass.log & reader=$!
# Nine of ten records have an amount above 100; the first half is not measured, since it waits for the job to start.
"$client" latency "$brokers" passed $((sent * 8 / 10)) > latency
kill "$reader"; wait "$writer"; wait "$reader" || true
awk -v rate="$rate" '{printf "%d records/s, from timestamp to committed, checkpoints every second: p50 %d ms, p99 %d ms, p99.9 %d ms\n", rate, $1, $2, $3}' latency
