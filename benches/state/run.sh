#!/usr/bin/env bash
# Runs a job whose state is many times its memory budget, and checks that each key comes out once with the right count
# and sum. Prints the time and the peak of resident memory as Markdown.
# Usage: benches/state/run.sh [folder for data] [keys] [budget]. Needs about 10 GB of disk for 7 million keys.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
. "$here/watch.sh"
data=${1:-${TMPDIR:-/tmp}/tidemill-state-bench}
keys=${2:-7000000}
budget=${3:-256 mb}
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
mkdir -p "$data" && cd "$data" && rm -rf out state job.sql

rows=$((2 * keys))
sed "s/ROWS/$rows/; s/LAST/$((rows - 1))/; s/KEYS/$keys/; s/BUDGET/$budget/" "$here/job.sql" | grep -v '^--' > job.sql
"$tidemill" run job.sql --quiet --state-dir state -p 2 &
pid=$!
watch "$pid"
wait "$pid"
end=$(date +%s.%N)

# Key k was counted at k and at k + keys. Numbers above 2^53 are not exact in awk: the sums go modulo a million.
cat out/part-* | awk -F , -v keys="$keys" '
  {
    lines++
    if ($2 != 2 || $3 != 2 * $1 + keys) wrong++
    numbers = (numbers + $1) % 1000003
    squares = (squares + ($1 % 1000003) * ($1 % 1000003)) % 1000003
  }
  END {
    for (key = 0; key < keys; key++) {
      all = (all + key) % 1000003
      all_squares = (all_squares + (key % 1000003) * (key % 1000003)) % 1000003
    }
    if (lines != keys || wrong || numbers != all || squares != all_squares) {
      print "WRONG: " lines + 0 " rows, " wrong + 0 " of them with a wrong count or sum" > "/dev/stderr"
      exit 1
    }
  }'
echo "| keys | budget | peak resident | state on disk | seconds | events/s | rows |"
echo "|---|---|---|---|---|---|---|"
echo "$end $start $keys $rows $peak_kb $state_kb" | awk -v budget="$budget" '{
  printf "| %d | %s | %d MB | %d MB | %.1f | %d | right, each once |\n", $3, budget, $5 / 1024, $6 / 1024, $1 - $2, $4 / ($1 - $2)}'
rm -rf out state
