#!/usr/bin/env bash
# Joins two streams whose rows are many times the memory budget, and checks that each pair comes out once and whole.
# Prints the time and the peak of resident memory as Markdown.
# Usage: benches/state/join.sh [folder for data] [keys] [budget]. 8 million keys are about 5 GB of state and need 20 GB of disk.
# 7919 must not divide the number of keys.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/watch.sh"
data=${1:-${TMPDIR:-/tmp}/tidemill-join-bench}
keys=${2:-8000000}
budget=${3:-512 mb}
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
mkdir -p "$data" && cd "$data" && rm -rf out state job.sql

sed "s/LAST/$((keys - 1))/; s/KEYS/$keys/g; s/BUDGET/$budget/" "$here/join.sql" | grep -v '^--' > job.sql
"$tidemill" run job.sql --quiet --state-dir state -p 2 2> warnings &
pid=$!
watch "$pid"
wait "$pid" || { cat warnings >&2; exit 1; }
end=$(date +%s.%N)

# Sums go modulo a million, since numbers above 2^53 are not exact in awk.
cat out/part-* | awk -F , -v keys="$keys" '
  {
    lines++
    if ($3 != 1 || ($2 * 7919) % keys != $1) wrong++
    numbers = (numbers + $1) % 1000003
    squares = (squares + ($1 % 1000003) * ($1 % 1000003)) % 1000003
  }
  END {
    for (key = 0; key < keys; key++) {
      all = (all + key) % 1000003
      all_squares = (all_squares + (key % 1000003) * (key % 1000003)) % 1000003
    }
    if (lines != keys || wrong || numbers != all || squares != all_squares) {
      print "WRONG: " lines + 0 " pairs, " wrong + 0 " of them wrong" > "/dev/stderr"
      exit 1
    }
  }'
echo "| keys per side | budget | peak resident | state on disk | seconds | rows/s | pairs |"
echo "|---|---|---|---|---|---|---|"
echo "$end $start $keys $peak_kb $state_kb" | awk -v budget="$budget" '{
  printf "| %d | %s | %d MB | %d MB | %.1f | %d | right, each once |\n", $3, budget, $4 / 1024, $5 / 1024, $1 - $2, 2 * $3 / ($1 - $2)}'
rm -rf out state
