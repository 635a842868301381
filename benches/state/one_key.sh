#!/usr/bin/env bash
# Joins one key with very many rows, which take many times the memory budget, with few rows of the same key, and checks that
# each pair comes out once and whole. Prints the time and the peak of resident memory as Markdown.
# Usage: benches/state/one_key.sh [folder for data] [rows, a multiple of 100] [budget] [probing rows].
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/watch.sh"
data=${1:-${TMPDIR:-/tmp}/tidemill-one-key-bench}
rows=${2:-2000000}
budget=${3:-32 mb}
probes=${4:-60}
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
mkdir -p "$data" && cd "$data" && rm -rf out state job.sql

sed "s/LAST_ROW/$((rows - 1))/; s/LAST_PROBE/$((probes - 1))/; s/ROWS/$rows/g; s/PROBES/$probes/g; s/BUDGET/$budget/" "$here/one_key.sql" |
  grep -v '^--' > job.sql
"$tidemill" run job.sql --quiet --state-dir state -p 2 2> warnings &
pid=$!
watch "$pid"
wait "$pid" || { cat warnings >&2; exit 1; }
end=$(date +%s.%N)

# Of each hundred rows in a row, one fits a probing row.
cat out/part-* | awk -F , -v rows="$rows" -v probes="$probes" '
  {
    lines++
    sum += $1
    if ($3 != 1 || ($1 + $2) % 100 != 0 || seen[$1 "," $2]++) wrong++
  }
  END {
    for (probe = 0; probe < probes; probe++) {
      first = (100 - probe % 100) % 100
      all += rows / 100 * (first + (rows - 100) / 2)
    }
    if (lines != rows / 100 * probes || wrong || sum != all) {
      print "WRONG: " lines + 0 " pairs, " wrong + 0 " of them wrong" > "/dev/stderr"
      exit 1
    }
  }'
echo "| rows of the key | probing rows | budget | peak resident | state on disk | seconds | pairs |"
echo "|---|---|---|---|---|---|---|"
echo "$end $start $rows $peak_kb $state_kb" | awk -v budget="$budget" -v probes="$probes" '{
  printf "| %d | %d | %s | %d MB | %d MB | %.1f | right, each once |\n", $3, probes, budget, $4 / 1024, $5 / 1024, $1 - $2}'
rm -rf out state
