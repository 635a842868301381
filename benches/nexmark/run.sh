#!/usr/bin/env bash
# Runs each Nexmark query over one NDJSON file with 2 instances per operator and a checkpoint every second, results
# thrown away, and prints as Markdown: events per second, events per second of processor time, the peak of resident memory, and how
# long a result took from the reading of the row that it came of (p50, p99, p99.9) while the file was read as fast as it goes.
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

. "$here/job.sh"

# Runs job.sql; prints seconds, seconds of processor time, peak memory in KB and the three latencies in ms. The kernel keeps
# time and memory as long as the process lives, so the last look counts.
measure() {
  local start end pid ticks=0 peak_kb=0 seen
  rm -rf state
  start=$(date +%s.%N)
  "$tidemill" run job.sql --state-dir state -p 2 > /dev/null 2> summary &
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
  echo "$end $start $ticks $ticks_per_second $peak_kb $(latencies)" | awk '{print $1 - $2, $3 / $4, $5, $6, $7, $8}'
}

# The latencies that the summary names; three dashes where nothing came out.
latencies() {
  sed -n 's/.*half of the rows within \([0-9.]*\) ms of being read, 99 % within \([0-9.]*\) ms, 99.9 % within \([0-9.]*\) ms.*/\1 \2 \3/p' summary |
    grep . || echo "- - -"
}

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

queries=("$@")
[ ${#queries[@]} -gt 0 ] || mapfile -t queries < <(ls "$here/queries" | sed 's/\.sql$//' | sort -V)
echo "| query | events/s | events per processor second | peak memory | p50 | p99 | p99.9 |"
echo "|---|---|---|---|---|---|---|"
for query in "${queries[@]}"; do
  job_over "$query" '1 s' < "$here/tables.sql" > job.sql
  if ! "$tidemill" check job.sql > check.log 2>&1; then
    echo "| $query | refused: $(grep -m 1 . check.log | tr '|' '/') | | | | | |"
    continue
  fi
  for _ in $(seq "$runs"); do measure; done > figures
  seconds=$(cut -d ' ' -f 1 figures | median)
  processor=$(cut -d ' ' -f 2 figures | median)
  peak_kb=$(cut -d ' ' -f 3 figures | median)
  latency=$(for field in 4 5 6; do cut -d ' ' -f $field figures | median; done | paste -s -d ' ')
  echo "$query $events $seconds $processor $peak_kb $latency" |
    awk '{printf "| %s | %d k | %d k | %d MB | %s ms | %s ms | %s ms |\n", $1, $2 / $3 / 1000, $2 / $4 / 1000, $5 / 1024, $6, $7, $8}'
done
rm -rf state job.sql check.log figures summary
