#!/usr/bin/env bash
# How long results take while events come at a steady rate: a quarter, a half and four fifths of what the query can take on this machine,
# with a checkpoint every second and without any. A result counts from the moment when the events that it came of were due, not from when
# they were read: an engine that falls behind, or a pause that keeps it from reading, is not left out (coordinated omission).
# Prints Markdown. Usage: benches/nexmark/latency.sh [seconds per run] [query ...].
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
seconds=${1:-30}
shift $(($# < 1 ? $# : 1))
queries=("$@")
[ ${#queries[@]} -gt 0 ] || queries=(q0 q2 q5 q17 q20)
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

. "$here/job.sh"

# query, events, events per second, 'true' where the clock limits them, time between checkpoints; prints what the program says at the end
run() {
  sed "s/\${EVENTS}/$2/; s/'tps' *= '\${RATE}'/'tps' = '$3', 'rate.limited' = '$4'/" "$here/tables_generator.sql" |
    job_over "$1" "$5" > job.sql
  rm -rf state
  "$tidemill" run job.sql --state-dir state -p 2 2>&1 > /dev/null
}

echo "| query | events/s | of its peak | checkpoints | p50 | p99 | p99.9 |"
echo "|---|---|---|---|---|---|---|"
for query in "${queries[@]}"; do
  # Long enough that start and planning count for little.
  start=$(date +%s.%N)
  run "$query" 4000000 100000 false '1 s' > /dev/null
  peak=$(echo "$start $(date +%s.%N)" | awk '{printf "%d", 4000000 / ($2 - $1)}')
  for percent in 25 50 80; do
    rate=$((peak * percent / 100))
    for checkpoints in 0 '1 s'; do
      run "$query" $((rate * seconds)) "$rate" true "$checkpoints" > summary
      latencies=$(sed -n 's/.*half of the rows within \([0-9.]*\) ms of being read, 99 % within \([0-9.]*\) ms, 99.9 % within \([0-9.]*\) ms.*/| \1 ms | \2 ms | \3 ms |/p' summary)
      name=none
      [ "$checkpoints" = 0 ] || name="every second"
      echo "| $query | $((rate / 1000)) k | $percent % | $name ${latencies:-| - | - | - |}"
    done
  done
done
