#!/usr/bin/env bash
# Measures the kernel's queries on Tidemill and on DuckDB in turn, over one file of 10 million events, and compares the
# number of rows. Usage: benches/kernel/run.sh [folder for data] [runs]. Prints the median of each as Markdown.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
data=${1:-${TMPDIR:-/tmp}/tidemill-kernel-bench}
runs=${2:-3}
tidemill=${TIDEMILL_BIN:-${CARGO_TARGET_DIR:-$root/target}/release/tidemill}
python=${TIDEMILL_DUCKDB_PYTHON:-python3}
[ -x "$tidemill" ] || (cd "$root" && cargo build --release --bin tidemill)
. "$here/events.sh"

median() { sort -n | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
now() { date +%s.%N; }

echo "| query | Tidemill, events/s | DuckDB, events/s | ratio | rows equal |"
echo "|---|---|---|---|---|"
events=$(wc -l < bids.json)
for query in filter tumble hop hop_keys session; do
  cat "$here/tables.sql" "$here/$query.sql" > job.sql
  : > tidemill.times; : > duckdb.times
  for _ in $(seq "$runs"); do
    rm -rf out state
    start=$(now); "$tidemill" run job.sql --quiet --state-dir state -p 2; end=$(now)
    echo "$end $start" | awk '{print $1-$2}' >> tidemill.times
    "$python" "$here/duckdb_queries.py" "$query" >> duckdb.times
  done
  ours=$(cat out/part-* | wc -l); theirs=$(wc -l < duckdb.csv)
  echo "$query $(median < tidemill.times) $(median < duckdb.times) $events $ours $theirs" |
    awk '{printf "| %s | %.2f M | %.2f M | %.2f | %s |\n", $1, $4/$2/1e6, $4/$3/1e6, $3/$2, ($5==$6 ? "yes, " $5 : "NO: " $5 " and " $6)}'
done
