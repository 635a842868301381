#!/usr/bin/env bash
# Runs each Nexmark query over one NDJSON file with 2 instances per operator and a checkpoint every second, results
# thrown away, and prints as Markdown: events per second, events per second of processor time, and the peak of resident memory.
# Usage: benches/nexmark/run.sh [folder for data] [events] [runs] [query ...]. Medians of the runs.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
data=${1:-${TMPDIR:-/tmp}/tidemill-nexmark-bench}
events=${2:-10000000}
runs=${3:-3}
shift $(($# < 3 ? $# : 3))
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
export TIDEMILL_BIN=$tidemill
mkdir -p "$data" && cd "$data"
[ "$(cat events.json 2> /dev/null | wc -l)" = "$events" ] || "$here/generate.sh" "$data" "$events"
ticks_per_second=$(getconf CLK_TCK)

# The job of a query: its result has the columns and the key that the query's file names.
job() {
  local file=$here/queries/$1.sql columns key
  columns=$(sed -n 's/^-- columns: //p' "$file")
  key=$(sed -n 's/^-- key: \(.*\)$/, PRIMARY KEY (\1) NOT ENFORCED/p' "$file")
  echo "SET 'table.local-time-zone' = 'UTC';"
  echo "SET 'execution.checkpointing.interval' = '1 s';"
  cat "$here/tables.sql" "$here/views.sql"
  echo "CREATE TABLE result ($columns$key) WITH ('connector' = 'blackhole');"
  echo "INSERT INTO result"
  cat "$file"
  echo ";"
}

# Runs job.sql; prints seconds, seconds of processor time and peak memory in KB. The kernel keeps the latter two as
# long as the process lives, so the last look counts.
measure() {
  local start end pid ticks=0 peak_kb=0 seen
  rm -rf state
  start=$(date +%s.%N)
  "$tidemill" run job.sql --quiet --state-dir state -p 2 > /dev/null &
  pid=$!
  while kill -0 "$pid" 2> /dev/null; do
    seen=$(awk '{print $14 + $15}' "/proc/$pid/stat" 2> /dev/null || true)
    ticks=${seen:-$ticks}
    seen=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status" 2> /dev/null || true)
    peak_kb=${seen:-$peak_kb}
    sleep 0.1
  done
  wait "$pid"
  end=$(date +%s.%N)
  echo "$end $start $ticks $ticks_per_second $peak_kb" | awk '{print $1 - $2, $3 / $4, $5}'
}

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

queries=("$@")
[ ${#queries[@]} -gt 0 ] || mapfile -t queries < <(ls "$here/queries" | sed 's/\.sql$//' | sort -V)
echo "| query | events/s | events per processor second | peak memory |"
echo "|---|---|---|---|"
for query in "${queries[@]}"; do
  job "$query" > job.sql
  if ! "$tidemill" check job.sql > check.log 2>&1; then
    echo "| $query | refused: $(grep -m 1 . check.log | tr '|' '/') | | |"
    continue
  fi
  for _ in $(seq "$runs"); do measure; done > figures
  seconds=$(cut -d ' ' -f 1 figures | median)
  processor=$(cut -d ' ' -f 2 figures | median)
  peak_kb=$(cut -d ' ' -f 3 figures | median)
  echo "$query $events $seconds $processor $peak_kb" |
    awk '{printf "| %s | %d k | %d k | %d MB |\n", $1, $2 / $3 / 1000, $2 / $4 / 1000, $5 / 1024}'
done
rm -rf state job.sql check.log figures
