#!/usr/bin/env bash
# Runs the job of run.sh with a budget that holds all of its state and with a tenth of what the state takes, in turn, and prints the
# share of speed that is left as Markdown. Every run checks each key.
# Usage: benches/state/ratio.sh [folder for data] [keys] [runs]. Needs 3 GB of memory for 2 million keys.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
data=${1:-${TMPDIR:-/tmp}/tidemill-state-bench}
keys=${2:-2000000}
runs=${3:-3}
# A key of 250 bytes is kept as 290, its hash, its place and the aggregates take 60 more; half of a budget is for such entries.
state_mb=$((keys * 350 / 1000000))
whole="$((4 * state_mb)) mb"
tenth="$((state_mb / 10)) mb"

median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }
rate() { "$here/run.sh" "$data" "$keys" "$1" | awk -F '|' 'NR == 3 {print $7 + 0, $4 + 0}'; }

mkdir -p "$data"
: > "$data/whole.rates"; : > "$data/tenth.rates"
for _ in $(seq "$runs"); do
  rate "$whole" >> "$data/whole.rates"
  rate "$tenth" >> "$data/tenth.rates"
done
echo "| keys | state | budget | events/s | peak resident, MB | share |"
echo "|---|---|---|---|---|---|"
fast=$(median < "$data/whole.rates")
for budget in whole tenth; do
  speed=$(median < "$data/$budget.rates")
  peak=$(awk '{print $2}' "$data/$budget.rates" | median)
  awk -v keys="$keys" -v state="$state_mb MB" -v budget="${!budget}" -v speed="$speed" -v peak="$peak" -v fast="$fast" 'BEGIN {
    printf "| %d | %s | %s | %d | %d | %d %% |\n", keys, state, budget, speed, peak, 100 * speed / fast}'
done
