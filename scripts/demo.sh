#!/usr/bin/env bash
# Builds the program (a first build takes about 25 minutes on 2 cores, mostly RocksDB) and runs the first example.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --bin tidemill
folder="$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)"
"$folder/tidemill" run examples/first-windows/job.sql
printf '\nThe program is %s/tidemill. To call it by its name, and to try it line by line:\n  export PATH="%s:$PATH"\n  tidemill\n' "$folder" "$folder" >&2
