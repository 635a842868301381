#!/usr/bin/env bash
# Measures whether the cost of sliding windows grows with size / slide: the same file of 10 million events, one size, a slide of the
# size itself and of a 10th, 100th and 1,000th of it. Prints processor seconds per million events (the process with its start) as Markdown.
# There are six keys, so that few rows come out and what is left is the cost of the input.
# Usage: benches/kernel/hop_ratio.sh [folder for data] [runs] [size of the window in seconds]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
data=${1:-${TMPDIR:-/tmp}/tidemill-kernel-bench}
runs=${2:-3}
size=${3:-3600}
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
. "$here/events.sh"

slides="1 10 100 1000"
: > hop.times
for _ in $(seq "$runs"); do
  for slides_per_window in $slides; do
    slide=$(awk -v size="$size" -v n="$slides_per_window" 'BEGIN {printf "%.3f", size / n}')
    { cat "$here/tables.sql"; sed "s/INTERVAL '1' SECOND, INTERVAL '10' SECOND/INTERVAL '$slide' SECOND, INTERVAL '$size' SECOND/" "$here/hop.sql"; } > hop.job.sql
    rm -rf out state
    TIMEFORMAT='%U %S'
    { time "$tidemill" run hop.job.sql --quiet --state-dir state -p 2 2> hop.errors; } 2> hop.time || { cat hop.errors >&2; exit 1; }
    echo "$slides_per_window $slide $(tail -n 1 hop.time) $(cat out/part-* | wc -l)" >> hop.times
  done
done

echo "| size / slide | slide | processor seconds per million events | beside one window at a time | rows out |"
echo "|---|---|---|---|---|"
events=$(wc -l < bids.json)
for slides_per_window in $slides; do
  awk -v n="$slides_per_window" '$1 == n {print $3 + $4, $2, $5}' hop.times | sort -n | awk '{v[NR] = $0} END {print v[int((NR + 1) / 2)]}' |
    awk -v n="$slides_per_window" '{print n, $0}'
done | awk -v events="$events" 'NR == 1 {first = $2} {
  printf "| %d | %s s | %.3f | %.2f | %d |\n", $1, $3, $2 / events * 1e6, $2 / first, $4}'
rm -rf out state
